"""What a study means is checked here, rule by rule."""

def run(study):
    return []
