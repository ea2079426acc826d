"""The fitted side of a report: which law is headlined, its curves and bands, its errors beside the baselines', and where methods meet."""

import dataclasses
import math

from reports import numbers

FACTOR_WORDS = {
    "pretraining_tokens": "pretraining tokens",
    "peft_parameters": "adapter parameters",
    "all": "all factors",
    "finetuning_examples": "data size",
}
SIZE_FACTORS = ("non_embedding_parameters", "model_parameters")
BASELINE_WORDS = {"carry_last": "carry the last value", "last_two": "line through the last two", "power": "power law per level"}
FORM_WORDS = {"all_factors": "all-factors"}


@dataclasses.dataclass
class Curve:
    """A law along a path: (value, low, high) at each place; `headlined` says whether the report stands behind it."""

    points: list
    headlined: bool


class LawBook:
    """The content of laws.json; every question has an answer where a law is missing, refused or beaten by a baseline.

    `loss` is the response that a report is about; `size_words` is what the laws' size factor is called.
    """

    loss = "test_loss"

    def __init__(self, laws, draws=None, size_words="model size"):
        self.laws, self.headlines, self.crossings = ([named(item) for item in laws.get(key) or []] for key in ("laws", "headline", "crossings"))
        self.map, self.fronts = ([named(item) for item in laws.get(key) or []] for key in ("map", "pareto"))
        self.warnings = laws.get("warnings") or []
        self.correlations = laws.get("correlations") or []
        self.request = laws.get("request") or {}
        self.draws, self.size_words = draws, size_words
        factors = [entry["factor"] for entry in self.laws]
        self.size_column = next((name for name in SIZE_FACTORS if name in factors), SIZE_FACTORS[0])

    def factor_words(self, item):
        """What a law, a headline or a crossing varies, in words: `model size`, `data size, xs`."""
        words = self.size_words if item["factor"] in SIZE_FACTORS else FACTOR_WORDS.get(item["factor"], str(item["factor"]).replace("_", " "))
        group = str(item.get("group") or "")
        return f"{words}, {group.partition('=')[2]}" if "=" in group else words

    def select(self, task, method=None, response=None, factor=None, group=None):
        """Law entries of a task, by method, response, factor (`size` stands for any count of model parameters) and group."""
        return [
            entry
            for entry in self.laws
            if entry["task"] == task
            and method in (None, entry["method"])
            and response in (None, entry["response"])
            and (factor is None or same_factor(entry["factor"], factor))
            and group in (None, entry["group"])
        ]

    def headline(self, entry):
        """The headline of a law's place (task, method, response, factor, group): {} where there is none."""
        keys = ("task", "method", "response", "factor", "group")
        return next((item for item in self.headlines if all(item.get(key) == entry.get(key) for key in keys)), {})

    def headlined(self, entry):
        """True where the headline of this law's place is this law."""
        return self.headline(entry).get("law") == entry["id"]

    def best(self, task, method, response, factor, group=None):
        """The law to draw: the headlined one, else the one with the lowest held-out (then fit) error, else None."""
        fitted = [entry for entry in self.select(task, method, response, factor, group) if not entry["refused"] and entry["parameters"]]

        def rank(entry):
            error = next((v for v in (entry["held_out_error"]["all"], entry["fit_error"]) if numbers.known(v)), math.inf)
            return (not self.headlined(entry), error)

        return min(fitted, key=rank, default=None)

    def best_laws(self, task, response):
        """The best law of every method and factor, in the order of laws.json."""
        places = dict.fromkeys((entry["method"], entry["factor"], entry["group"]) for entry in self.select(task, response=response))
        return [entry for entry in (self.best(task, method, response, factor, group) for method, factor, group in places) if entry]

    def exponents(self, entry):
        """(name, {value, low, high}) of a law's exponents: the parameters written in small letters."""
        return [(name, value) for name, value in entry["parameters"].items() if name[:1].islower()]

    def curve(self, task, method, response, factor, places):
        """The best law along `places` (dicts of factors), or None where no law was fitted or a factor of it is unknown.

        A law over `factor` comes first, then one of all factors at once, then a power law of this model size alone.
        """
        from laws import LawError, predict

        if not places:
            return None
        size = places[0].get("model_size")
        columns = {name: [place.get(name) for place in places] for name in places[0] if name != "model_size"}
        columns = {name: values for name, values in columns.items() if all(numbers.known(v) for v in values)}
        for candidate, group in (
            (factor, None),
            ("all", None),
            (self.request.get("data", "finetuning_examples"), f"model_size={size}"),
            (self.request.get("data", "finetuning_examples"), ""),
        ):
            entry = self.best(task, method, response, candidate, group)
            if entry is None:
                continue
            try:
                found = predict(entry, columns, self.draws)
            except LawError:
                continue
            parts = [[None] * len(places) if part is None else [float(v) for v in part] for part in found]
            return Curve(list(zip(*parts)), self.headlined(entry))
        return None

    def errors(self, task, response):
        """Rows {method, factor, group, factor_words, name, kind, fit, held_out, parts, headlined} of every form and baseline."""
        rows = []
        for item in self.headlines:
            if (item["task"], item["response"]) != (task, response):
                continue
            for candidate in item["candidates"]:
                parts, kind = candidate["held_out_error"], candidate["kind"]
                rows.append(
                    {
                        "method": item["method"],
                        "factor": item["factor"],
                        "group": item["group"],
                        "factor_words": self.factor_words(item),
                        "name": form_words(candidate["name"], kind),
                        "kind": "law" if kind == "form" else "baseline",
                        "fit": candidate["fit_error"],
                        "held_out": parts["all"],
                        "parts": parts,
                        "headlined": (candidate["name"], kind) == (item["winner"], item["kind"]),
                        "refused": candidate["refused"],
                    }
                )
        return rows

    def meetings(self, task, response, source, cost="data"):
        """Crossings, departures, ties and refusals of a task: `source` is data (paired differences) or laws (fitted curves), `cost` what is equal."""
        return [item for item in self.crossings if (item["task"], item["response"], item["source"], item["cost"]) == (task, response, source, cost)]

    def place(self, task, response, parameters, examples):
        """The entry of the map of winners at a model and data size, or None."""
        for item in self.map:
            if (item["task"], item["response"], item["examples"]) == (task, response, examples) and (
                item["at"] is None or (item["factor"] in SIZE_FACTORS and item["at"] == parameters)
            ):
                return item
        return None

    def front(self, task, parameters=None):
        """{(method, examples): cell} of the front of learning against forgetting at one model size; {} where it is not known."""
        for item in self.fronts:
            if item["task"] == task and ((item["factor"] in SIZE_FACTORS and item["at"] == parameters) or item["factor"] not in SIZE_FACTORS and item["at"] is None):
                return {(cell["method"], cell["examples"]): cell for cell in item["cells"]}
        return {}

    def place_words(self, item):
        """Where a crossing lies on its factor: a model's name, or a level in the factor's units."""
        name = str(item.get("at_name") or "")
        readable = name and not is_number(name)
        return name if readable else numbers.short(item.get("at")) if numbers.known(item.get("at")) else ""


def named(item):
    """An entry of laws.json with a task and a method also where a table made elsewhere has none."""
    return {**item, "task": item.get("task") or "task", **({"method": item["method"] or "model"} if "method" in item else {})}


def form_words(name, kind="form"):
    """A form's or a baseline's name in words; a baseline is named differently from the form that it uses."""
    return (FORM_WORDS if kind == "form" else BASELINE_WORDS).get(name, str(name).replace("_", " "))


def same_factor(factor, wanted):
    """True where a law's factor is the wanted one; `size` stands for any count of model parameters."""
    return factor in SIZE_FACTORS if wanted == "size" else factor == wanted


def is_number(text):
    """True where a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
