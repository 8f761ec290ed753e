"""The leaderboard as a browser shows it."""

import pytest

import zoo
from tests.evaluation.leaderboard import chromium
from tests.evaluation.leaderboard.records import changed
from zoo.epsilon import Epsilon
from zoo.evaluation.leaderboard import page as leaderboard
from zoo.evaluation.leaderboard.rows import rows
from zoo.hub.records import Cost

pytestmark = pytest.mark.skipif(chromium.why_not() is not None, reason=str(chromium.why_not()))

NASTY = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)> disputed"
COST = Cost(method="interval", milliseconds=3.25, n=64, hardware="an abacus")
RECORDS = [
    *(record for record in zoo.list_models() if record.name != "linf-dist-digits"),
    changed(metrics={"cost": COST}, notes=NASTY),
    changed(metrics={"attacked": []}, name="never-attacked-digits"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, tmp_path):
    """The driver at a fresh page; afterwards, nothing was complained about or asked for."""
    path = leaderboard.write(tmp_path / "site", RECORDS)
    chromium.requests(driver)
    driver.get(path.as_uri())
    yield driver
    assert driver.get_log("browser") == []
    assert chromium.requests(driver) == [path.as_uri()]
    assert driver.title == "certified-zoo: leaderboard"


def head(page, label):
    (found,) = [
        th for th in page.find_elements("css selector", "thead th") if th.text.startswith(label)
    ]
    return found


def column(page, label):
    """Texts of a column; a second line in a cell is left out."""
    return page.execute_script(
        """
        const heads = [...document.querySelectorAll("thead th")].map((th) => th.textContent);
        const place = heads.indexOf(arguments[0]);
        return [...document.querySelectorAll("#results tbody tr")].map(
            (tr) => tr.cells[place].firstChild.textContent);
        """,
        label,
    )


def choose(page, field, value):
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("css selector", field)).select_by_value(value)


def drawn(page, selector):
    return {e.get_attribute("data-model") for e in page.find_elements("css selector", selector)}


def test_the_table_is_the_rows(page):
    expected = rows(RECORDS)
    assert column(page, "model") == [row["model"] for row in expected]
    assert column(page, "eps") == [row["eps"] for row in expected]
    assert column(page, "certified") == [f"{row['certified']:.2%}" for row in expected]
    assert column(page, "method") == [row["method"] for row in expected]
    assert set(column(page, "deterministic")) == {"yes"}
    for cost, row in zip(column(page, "certificate, ms/image"), expected, strict=True):
        if row["milliseconds"] is None:
            assert cost == "–"
        else:
            assert float(cost) == pytest.approx(row["milliseconds"], rel=0.02, abs=0.006)
    attacked = dict(zip(column(page, "model"), column(page, "attacked"), strict=True))
    assert attacked["never-attacked-digits"] == "–"
    assert NASTY in column(page, "notes")


def test_sorting_by_pointer_and_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    assert {th.get_attribute("aria-sort") for th in page.find_elements("css selector", "th")} <= {
        "none",
        None,
    }
    head(page, "certified").find_element("tag name", "button").click()
    assert head(page, "certified").get_attribute("aria-sort") == "descending"
    shown = [float(text.rstrip("%")) for text in column(page, "certified")]
    assert shown == sorted(shown, reverse=True)

    head(page, "certified").find_element("tag name", "button").send_keys(Keys.ENTER)
    assert head(page, "certified").get_attribute("aria-sort") == "ascending"
    shown = [float(text.rstrip("%")) for text in column(page, "certified")]
    assert shown == sorted(shown)

    head(page, "eps").find_element("tag name", "button").send_keys(Keys.SPACE)
    assert head(page, "certified").get_attribute("aria-sort") == "none"
    budgets = [float(Epsilon(text)) for text in column(page, "eps")]
    assert budgets == sorted(budgets), "by size, not as text"

    button = head(page, "attacked").find_element("tag name", "button")
    for _ in range(2):
        button.click()
        assert column(page, "attacked")[-1] == "–", "what is unknown comes last either way"


def test_filters_act_on_table_and_charts(page):
    choose(page, "[name=dataset]", "digits")
    choose(page, "[name=norm]", "l2")
    expected = {r.name for r in RECORDS if (r.dataset, r.norm) == ("digits", "l2")}
    assert set(column(page, "model")) == expected
    assert drawn(page, "path.curve") == expected
    assert drawn(page, "circle.point") == expected
    captions = [e.text for e in page.find_elements("css selector", "#curves figcaption")]
    assert captions == ["digits, L2"]
    choose(page, "[name=approach]", "crt")
    assert set(column(page, "model")) == drawn(page, "path.curve") == {"crt-digits"}

    page.find_element("css selector", "button[type=reset]").click()
    page.find_element("css selector", "[name=search]").send_keys("ABACUS")
    assert column(page, "model") == [], "the search is in what a row says of its training"
    page.find_element("css selector", "[name=search]").clear()
    page.find_element("css selector", "[name=search]").send_keys("Disputed interval")
    assert set(column(page, "model")) == {"linf-dist-digits"}
    assert set(column(page, "method")) == {"interval"}
    assert drawn(page, "path.curve") == {"linf-dist-digits"}

    page.find_element("css selector", "[name=search]").send_keys(" nothing of the kind")
    assert column(page, "model") == []
    assert drawn(page, "path.curve") == drawn(page, "circle.point") == set()
    assert page.find_element("id", "no-results").is_displayed()


def test_a_curve_is_steps_down_from_clean(page):
    choose(page, "[name=dataset]", "digits")
    path = page.find_element("css selector", 'path[data-model="linf-dist-digits"]')
    steps = path.get_attribute("d")
    n = len({e.eps for e in zoo.info("linf-dist-digits").metrics.certified})
    assert steps.count("V") == steps.count("H") == n
    heights = [float(part.split("H")[0]) for part in steps.split("V")[1:]]
    assert heights == sorted(heights), "down the page: accuracy falls"
    assert path.rect["width"] > 100
    rings = page.find_elements("css selector", "#curves circle.clean title")
    texts = [ring.get_attribute("textContent") for ring in rings]
    assert "linf-dist-digits: 88.40% clean" in texts


def test_the_scatter_follows_its_selector(page):
    from selenium.webdriver.support.ui import Select

    selector = Select(page.find_element("id", "threat"))
    threats = list(dict.fromkeys((r["dataset"], r["norm"], r["budget"]) for r in rows(RECORDS)))
    assert len(selector.options) == len(threats)
    selector.select_by_visible_text("digits, ℓ∞, eps 0.1")
    assert drawn(page, "circle.point") == {
        r["model"]
        for r in rows(RECORDS)
        if (r["dataset"], r["norm"], r["budget"]) == ("digits", "linf", 0.1)
    }
    assert page.find_element("css selector", "#scatter figcaption").text == "digits, ℓ∞, eps 0.1"
    title = page.find_element("css selector", "circle[data-model=linf-dist-digits] title")
    assert "88.40% clean, 80.00% certified, interval" in title.get_attribute("textContent")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_only_the_table_scrolls_sideways(page, scheme):
    phone = {"width": 375, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        width, inner, table_wide, table_shown, background = page.execute_script(
            """
            const scroll = document.querySelector(".scroll");
            return [document.documentElement.scrollWidth, innerWidth, scroll.scrollWidth,
                    scroll.clientWidth, getComputedStyle(document.body).backgroundColor];
            """
        )
        assert width <= inner == 375
        assert table_wide > table_shown
        red = int(background.split("(")[1].split(",")[0])
        assert (red > 128) == (scheme == "light")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
