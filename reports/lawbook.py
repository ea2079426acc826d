"""The fitted side of a report: which law is headlined, its curves and bands, its errors beside the baselines'."""

import dataclasses
import math

from reports import numbers

FACTOR_WORDS = {"non_embedding_parameters": "model size", "model_parameters": "model size", "pretraining_tokens": "pretraining tokens",
                "peft_parameters": "adapter parameters", "all": "all factors", "finetuning_examples": "data size"}
SIZE_FACTORS = ("non_embedding_parameters", "model_parameters")
BASELINE_WORDS = {"carry_last": "carry the last value", "last": "carry the last value", "carry": "carry the last value",
                  "last_two": "line through the last two", "line": "line through the last two", "last_two_line": "line through the last two",
                  "mean": "mean of the fitted points"}


@dataclasses.dataclass
class Curve:
    """A law along a path: (value, low, high) at each place; `headlined` says whether the report stands behind it."""

    points: list
    headlined: bool


class LawBook:
    """The content of laws.json; every question has an answer where a law is missing, refused or beaten by a baseline."""

    def __init__(self, laws, draws=None):
        self.laws = laws.get("laws") or []
        self.headlines = laws.get("headline") or []
        self.crossings = laws.get("crossings") or []
        self.warnings = laws.get("warnings") or []
        self.draws = draws
        factors = [entry.get("factor") for entry in self.laws]
        self.size_column = next((name for name in SIZE_FACTORS if name in factors), SIZE_FACTORS[0])

    def factor_words(self, entry):
        """`model size` for the factor of a law, a headline or a crossing."""
        factor = entry.get("factor")
        return FACTOR_WORDS.get(factor, str(factor).replace("_", " "))

    def select(self, task, method=None, response=None, factor=None):
        """Law entries of a task, by method, response and factor (`size` stands for any count of model parameters)."""
        return [entry for entry in self.laws if entry["task"] == task and (method is None or entry["method"] == method)
                and (response is None or entry["response"] == response) and (factor is None or same_factor(entry.get("factor"), factor))]

    def headline(self, task, method, response, factor):
        """The headline entry of a law, or None."""
        for item in self.headlines:
            if (item.get("task"), item.get("method"), item.get("response")) == (task, method, response) and same_factor(item.get("factor"), factor):
                return item
        return None

    def headlined(self, entry):
        """True where the headline of this law's place is this law."""
        item = self.headline(entry["task"], entry["method"], entry["response"], entry.get("factor"))
        return bool(item) and item.get("form") == entry["form"] and not entry.get("refused")

    def best(self, task, method, response, factor):
        """The law to draw: the headlined one, else the one with the lowest held-out (then fit) error, else None."""
        fitted = [entry for entry in self.select(task, method, response, factor) if not entry.get("refused") and entry.get("parameters")]
        if not fitted:
            return None

        def rank(entry):
            held = (entry.get("held_out_error") or {}).get("all")
            error = held if numbers.known(held) else entry.get("fit_error")
            return (not self.headlined(entry), error if numbers.known(error) else math.inf)

        return min(fitted, key=rank)

    def best_laws(self, task, response):
        """The best law of every method and factor, in the order of laws.json."""
        places = dict.fromkeys((entry["method"], entry.get("factor")) for entry in self.select(task, response=response))
        return [entry for entry in (self.best(task, method, response, factor) for method, factor in places) if entry]

    def exponents(self, entry):
        """(name, {value, low, high}) of a law's exponents: the parameters written in small letters."""
        return [(name, value) for name, value in (entry.get("parameters") or {}).items() if name[:1].islower()]

    def curve(self, task, method, response, factor, places):
        """The best law along `places` (dicts of factors), or None where no law was fitted or a factor of it is unknown."""
        from laws.predict import LawError, predict

        for candidate in (factor, "all"):
            entry = self.best(task, method, response, candidate)
            if entry is None or not places:
                continue
            columns = {name: [place.get(name) for place in places] for name in places[0]}
            try:
                found = predict(entry, {name: values for name, values in columns.items() if None not in values}, self.draws)
            except LawError:
                continue
            nothing = [None] * len(places)
            points = list(zip(*([nothing if part is None else [float(v) for v in part] for part in found])))
            return Curve(points, self.headlined(entry))
        return None

    def choice(self, task, method, response, factor):
        """{kind: law | baseline | none, name, law}: what stands at the head of a law's place."""
        item = self.headline(task, method, response, factor) or {}
        form = item.get("form")
        for entry in self.select(task, method, response, factor):
            if entry["form"] == form and not entry.get("refused"):
                return {"kind": "law", "name": form, "law": entry}
            if form in (entry.get("baselines") or {}):
                return {"kind": "baseline", "name": baseline_words(form), "law": None}
        return {"kind": "none", "name": "", "law": None}

    def refusal(self, entry):
        """Why a law was refused, in one line; empty where it was not."""
        refused = entry.get("refused")
        return "" if not refused else str(refused.get("id") or refused) if isinstance(refused, dict) else str(refused)

    def place_words(self, item):
        """Where a crossing lies on the law's factor: a level in the factor's units."""
        at = item.get("at")
        if isinstance(at, dict):
            return ", ".join(f"{key.replace('_', ' ')} {numbers.short(value) if numbers.known(value) else value}" for key, value in at.items())
        return numbers.short(at) if numbers.known(at) else str(at or "")

    def crossing_sentence(self, item):
        """A crossing or departure inside the data, in one sentence."""
        examples = item["examples"]
        verb = "cross" if item["kind"] == "crossing" else "part"
        return (f"{item['first']} and {item['second']} {verb} at about {numbers.level(round(examples['value']))} examples "
                f"(95 % interval {numbers.interval(examples.get('low'), examples.get('high'), numbers.short)}) where {self.factor_words(item)} is {self.place_words(item)}.")

    def errors(self, task, response):
        """Rows {method, factor_words, name, kind, fit, held_out, parts, headlined} of every form and baseline."""
        rows, seen = [], set()
        for entry in self.select(task, response=response):
            common = {"method": entry["method"], "factor": entry.get("factor"), "factor_words": self.factor_words(entry)}
            item = self.headline(task, entry["method"], response, entry.get("factor")) or {}
            held = entry.get("held_out_error") or {}
            rows.append({**common, "name": entry["form"], "kind": "law", "fit": entry.get("fit_error"), "held_out": held.get("all"), "parts": held,
                         "headlined": self.headlined(entry), "refused": entry.get("refused")})
            for name, value in (entry.get("baselines") or {}).items():
                place = (entry["method"], entry.get("factor"), name)
                if place in seen:
                    continue
                seen.add(place)
                parts = value if isinstance(value, dict) else {"all": value}
                rows.append({**common, "name": baseline_words(name), "kind": "baseline", "fit": None, "held_out": parts.get("all"), "parts": parts,
                             "headlined": item.get("form") == name, "refused": None})
        return rows


def baseline_words(name):
    """A baseline's name in words."""
    return BASELINE_WORDS.get(name, str(name).replace("_", " "))


def same_factor(factor, wanted):
    """True where a law's factor is the wanted one; `size` stands for any count of model parameters."""
    return factor in SIZE_FACTORS if wanted == "size" else factor == wanted
