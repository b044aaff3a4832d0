"""What is drawn, chosen and taken back on the page, in a real browser and in both forms of the page."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from test_page import SEVEN, SOON, TWO, draw, fingers, give, places, says, touch, visiting

from conftest import ROOT

PHOTO = ROOT / "images" / "own_digit.jpg"
LINE: list[tuple[float, float]] = [(0.3, 0.2), (0.3, 0.4), (0.35, 0.6), (0.4, 0.8)]
PALM = [(0.8, 0.9), (0.7, 0.8), (0.6, 0.9), (0.8, 0.6)]


@pytest.fixture(params=["url", "static_url"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(form: str, request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    with visiting(browser, request.getfixturevalue(form)) as opened:
        yield opened


def choose(page: Page, photo: Path) -> None:
    """Choose a file as a person does: the browser tells the page only where it is another than before."""
    session = page.context.new_cdp_session(page)
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": "#file"})["nodeId"]
    session.send("DOM.setFileInputFiles", {"files": [str(photo)], "nodeId": node})


def drawn(page: Page) -> str:
    return str(page.evaluate("document.getElementById('canvas').toDataURL()"))


def shows(page: Page, picture: str) -> None:
    """Wait until the canvas holds a picture."""
    for _ in range(100):
        if drawn(page) == picture:
            return
        time.sleep(0.05)
    pytest.fail("the canvas does not show it")


@pytest.mark.parametrize("remove", ["#clear", "#undo", "draw"])
def test_the_same_photo_can_be_chosen_again(page: Page, remove: str) -> None:
    empty = drawn(page)
    choose(page, PHOTO)
    expect(page.locator("#clear")).to_be_enabled(timeout=SOON)
    says(page, "4")  # and its box is on the canvas
    photo = drawn(page)
    assert photo != empty
    if remove == "draw":
        draw(page, SEVEN)
    else:
        page.locator(remove).click()
    assert drawn(page) != photo
    choose(page, PHOTO)
    shows(page, photo)


Step = Sequence[tuple[float, float] | None]


@pytest.mark.parametrize(
    "steps",
    [
        [[LINE[0]], [LINE[0], PALM[0]], [LINE[1], PALM[1]], [LINE[2], PALM[2]], [LINE[3], PALM[2]], [LINE[3]]],
        [[LINE[0]], [LINE[1]], [LINE[2], PALM[0]], [LINE[3], PALM[0]], [None, PALM[1]], [None, PALM[2]]],
        [[LINE[0]], [LINE[0], PALM[0], PALM[1]], [LINE[1], PALM[2], PALM[1]], [LINE[2]], [LINE[3]]],
    ],
    ids=["palm and finger lift", "finger lifts first", "two palms lift first"],
)
def test_a_stroke_follows_one_finger(page: Page, steps: list[Step]) -> None:
    touch(page, [LINE])
    alone = drawn(page)
    page.keyboard.press("Escape")
    fingers(page, steps)
    assert drawn(page) == alone
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert drawn(page) == alone, "the fingers made more than one stroke"
    draw(page, SEVEN)
    assert drawn(page) != alone, "the next stroke is refused"


def test_the_mouse_does_not_join_a_fingers_stroke(page: Page) -> None:
    touch(page, [LINE])
    alone = drawn(page)
    page.keyboard.press("Escape")
    session = page.context.new_cdp_session(page)
    for number, (finger, mouse) in enumerate(
        zip(places(page.locator("#canvas"), LINE), places(page.locator("#canvas"), PALM), strict=True)
    ):
        points = [{"x": finger[0], "y": finger[1]}]
        kind = "touchMove" if number else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.mouse.move(*mouse)
    page.mouse.down()
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.mouse.up()
    assert drawn(page) == alone


@pytest.mark.parametrize("before", ["nothing", "strokes", "photo"])
def test_a_stroke_that_the_system_takes_back_is_gone(page: Page, before: str) -> None:
    if before == "strokes":
        draw(page, SEVEN)
    elif before == "photo":
        give(page, PHOTO, "drop")
        says(page, "4")
    kept = drawn(page)
    fingers(page, [[point] for point in LINE], "touchCancel")
    if before == "photo":
        says(page, "4")  # its box has been drawn again
    shows(page, kept)
    draw(page, TWO)
    assert drawn(page) != kept


def test_a_stroke_that_is_taken_away_while_it_is_drawn_does_not_go_on(page: Page) -> None:
    empty = drawn(page)
    for key in ("Control+z", "Escape"):
        first, *others = places(page.locator("#canvas"), LINE)
        page.mouse.move(*first)
        page.mouse.down()
        page.mouse.move(*others[0])
        page.keyboard.press(key)
        page.mouse.move(*others[1])
        page.mouse.up()
        assert drawn(page) == empty


Act = Callable[[Page], None]
ACTS: dict[str, Act] = {
    "seven": lambda page: draw(page, SEVEN),
    "photo": lambda page: give(page, PHOTO, "drop"),
    "clear": lambda page: page.locator("#clear").click(),
    "escape": lambda page: page.keyboard.press("Escape"),
}


@pytest.mark.parametrize("undo", ["button", "key"])
def test_whatever_was_done_is_undone(page: Page, undo: str) -> None:
    empty, photo = "No digit yet", "4"
    done = [("seven", "7"), ("clear", empty), ("photo", photo), ("escape", empty), ("seven", "7"), ("photo", photo)]
    done += [("seven", "7")]
    seen = [(drawn(page), empty)]
    for act, said in done:
        ACTS[act](page)
        says(page, said)
        seen.append((drawn(page), said))
    assert len({picture for picture, _ in seen}) == 3, "an act changes nothing"
    for picture, said in reversed(seen[:-1]):
        page.locator("#undo").click() if undo == "button" else page.keyboard.press("Control+z")
        says(page, said)
        shows(page, picture)
    expect(page.locator("#undo")).to_be_disabled()
    expect(page.locator("#clear")).to_be_disabled()


def test_what_was_brought_back_is_read(page: Page) -> None:
    draw(page, SEVEN)
    says(page, "7")
    for forget in ("Escape", "Escape"):
        page.keyboard.press(forget)
        says(page, "No digit yet")
    page.keyboard.press("Control+z")
    says(page, "7")


def test_a_file_that_is_no_picture_leaves_the_drawing(page: Page, tmp_path: Path) -> None:
    draw(page, SEVEN)
    says(page, "7")
    kept = drawn(page)
    (tmp_path / "notes.txt").write_text("no picture")
    choose(page, tmp_path / "notes.txt")
    says(page, "That is not a picture")
    assert drawn(page) == kept
