"""The page a person judges from: complete, self-contained, and deaf to what its texts try."""

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.unit.report_samples import NOW, comparison, metric, sheet
from tools.contracts.run import Review
from tools.report_page import page, pictures
from tools.report_plots import safe

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> &\x00\x1b\ud800 " + "a_very_long_name" * 60
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Every tag, its attributes, and whether tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def test_texts_from_outside_are_text_wherever_they_stand() -> None:
    text = page(sheet(HOSTILE))

    read = Reader(text)
    assert read.open == []
    assert not {"script", "img", "iframe", "link", "object"} & set(read.tags)
    assert not [name for name in read.names if name.startswith("on")]
    assert not {"src", "srcset", "action"} & read.names
    assert "\x00" not in text
    assert "\x1b" not in text
    text.encode("utf-8")
    # The hostile text is there to be read: reason, evidence, rationale, slice, note, doubt, check, ...
    assert read.words.count("<script>alert(1)</script>") > 12


def test_pictures_are_well_formed_files_whatever_the_names() -> None:
    drawn = pictures(sheet(HOSTILE))

    assert set(drawn) == {"intervals.svg", "slices.svg", "calibration.svg", "error_over_time.svg"}
    for content in drawn.values():
        root = ElementTree.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not [one for one in root.iter() if one.tag.endswith(("script", "image", "foreignObject"))]


def test_page_needs_nothing_from_outside() -> None:
    text = page(sheet())

    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_each_verdict_is_a_word_and_missing_evidence_is_said_and_not_drawn() -> None:
    verdicts = ("improved", "non_inferior", "regressed", "inconclusive", "no_data")
    items = [metric(verdict, f"metric_{verdict}", statement=f"why {verdict}") for verdict in verdicts]

    words = Reader(page(sheet(comparison=comparison(*items)))).words

    for word in ("▲ improved", "= non-inferior", "▼ regressed", "? inconclusive", "– no data"):
        assert word in words
    assert "why no_data" in words


def test_run_without_comparison_or_figures_still_tells_its_decision() -> None:
    bare = sheet(comparison=None, figures=None, figures_note=None, candidate=None, champion=None, decision="reject")

    words = Reader(page(bare)).words

    assert "Do not deploy" in words
    assert "no champion yet" in words
    assert "nulls plain" in words
    assert "Calibration" not in words
    assert pictures(bare) == {}


def test_open_question_names_what_to_type_and_a_canary_only_where_it_is_offered() -> None:
    def asked(*allowed: str) -> str:
        review = Review(
            id=7,
            run_id="r1",
            model_id="m",
            status="open",
            offered="deploy",
            payload={"action_requests": [], "review_configs": [{"allowed_decisions": list(allowed)}]},
            digest="d",
            nonce="n",
            requested_by="ada",
            approvers=("ada", "bo"),
            created_at=NOW,
            expires_at=NOW,
        )
        return Reader(page(sheet(decision="manual_review", review=review))).words

    plain, split = asked("approve", "reject"), asked("approve", "edit", "reject")

    assert 'retrain review approve 7 --reason "…"' in plain
    assert "ada, bo may answer" in plain
    assert "review canary" not in plain
    assert "retrain review canary 7" in split


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "observe"}, "Mode is observe"),
        ({"decision": "reject"}, "stays in production"),
        ({"decision": "manual_review"}, "asks a person"),
        ({"mode": "recommend"}, "asks a person"),
        ({}, "The rollout starts"),
    ],
)
def test_what_happens_next_follows_from_decision_and_mode(changes: dict[str, Any], said: str) -> None:
    assert said in Reader(page(sheet(**changes))).words


def test_citations_lead_to_the_evidence_they_name() -> None:
    text = page(sheet())

    assert '[<a href="#E1">E1</a>]' in text
    assert '<span id="E1">' in text


def test_safe_text_keeps_letters_of_every_script() -> None:
    assert safe("Zürich 東京 & <b>") == "Zürich 東京 &amp; &lt;b&gt;"
