"""The leaderboard as a browser shows it."""

import csv
import functools
import io
import time
import urllib.parse

import pytest

import zoo
from tests.evaluation.leaderboard import chromium
from tests.evaluation.leaderboard.records import changed
from zoo.evaluation.leaderboard import page as leaderboard
from zoo.evaluation.leaderboard import published as papers_of
from zoo.evaluation.leaderboard.rows import best_rows, rows
from zoo.hub.records import Cost

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(chromium.why_not() is not None, reason=str(chromium.why_not())),
]

NASTY = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)> disputed"
COST = Cost(method="interval", milliseconds=3.25, n=64, hardware="an abacus")
RECORDS = [
    *(record for record in zoo.list_models() if record.name != "linf-dist-digits"),
    changed(metrics={"cost": COST}, notes=NASTY),
    changed(metrics={"attacked": []}, name="never-attacked-digits"),
]
DIGITS = "#dataset=digits&norm=linf&eps=0.1"


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
    asked = {url for url in chromium.requests(driver) if not url.startswith("blob:")}
    assert asked == {path.as_uri()}
    assert driver.title == "certified-zoo: leaderboard"


# They are asked for again and again.
rows_of_all = functools.cache(lambda: rows(RECORDS))
published = functools.cache(papers_of.published)


def at(threat, records=None):
    """The best rows of a threat model, from the highest certified accuracy to the lowest."""
    of_all = rows_of_all() if records is None else rows(records)
    found = [r for r in best_rows(of_all) if (r["dataset"], r["norm"], r["eps"]) == threat]
    return sorted(found, key=lambda row: (-row["certified"], row["model"]))


def go(page, fragment):
    page.execute_script("location.hash = arguments[0]", fragment)
    page.execute_async_script("setTimeout(arguments[0])")  # after the event


def fragment(page):
    text = page.execute_script("return location.hash.slice(1)")
    return dict(urllib.parse.parse_qsl(text))


def head(page, label):
    (found,) = [
        th for th in page.find_elements("css selector", "thead th") if th.text.startswith(label)
    ]
    return found


def column(page, label, body="measured"):
    """Texts of a column; a second line in a cell is left out."""
    return page.execute_script(
        """
        const heads = [...document.querySelectorAll("thead th button")].map((b) => b.textContent);
        const place = heads.indexOf(arguments[0]);
        return [...document.querySelectorAll(`#${arguments[1]} tr:not(.apart)`)].map(
            (tr) => tr.cells[place].firstChild.textContent);
        """,
        label,
        body,
    )


def choose(page, field, value):
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("css selector", field)).select_by_value(value)


def chosen(page):
    names = ("dataset", "norm", "eps")
    return tuple(
        page.find_element("css selector", f"[name={name}]").get_attribute("value") for name in names
    )


def drawn(page, selector):
    return {e.get_attribute("data-model") for e in page.find_elements("css selector", selector)}


def text_of(page, identifier):
    return page.find_element("id", identifier).text


def test_it_opens_on_the_threat_model_with_the_most_results(page):
    threat = chosen(page)
    results = {
        (r["dataset"], r["norm"], r["eps"]): len(at((r["dataset"], r["norm"], r["eps"])))
        + sum(p.eps == r["eps"] for p in published(r["dataset"], r["norm"]))
        for r in rows_of_all()
    }
    assert results[threat] == max(results.values())
    expected = at(threat)
    assert column(page, "model") == [row["model"] for row in expected]
    assert column(page, "certified") == [f"{row['certified']:.2%}" for row in expected]
    assert column(page, "#") == [str(i + 1) for i in range(len(expected))]
    assert text_of(page, "headline").startswith(f"{expected[0]['certified']:.2%}")
    assert fragment(page) == {}, "the address changes only when the reader changes something"


def test_the_table_is_the_rows_of_every_threat_model(page):
    for threat in dict.fromkeys((r["dataset"], r["norm"], r["eps"]) for r in rows_of_all()):
        query = urllib.parse.urlencode(dict(zip(("dataset", "norm", "eps"), threat, strict=True)))
        go(page, f"#{query}&methods=all")
        found = [r for r in rows_of_all() if (r["dataset"], r["norm"], r["eps"]) == threat]
        shown = zip(
            *(column(page, label) for label in ("model", "certificate", "certified", "n")),
            strict=True,
        )
        expected = [
            (r["model"], r["method"], f"{r['certified']:.2%}", f"{r['n']:,}") for r in found
        ]
        assert sorted(shown) == sorted(expected)
        papers = [p for p in published(*threat[:2]) if p.eps == threat[2]]
        assert column(page, "model", "published") == [p.name for p in papers]
        assert column(page, "certified", "published") == [f"{p.certified:.2f}%" for p in papers]


def test_papers_stand_apart_and_are_not_sorted_among_ours(page):
    go(page, "#dataset=cifar10&norm=linf&eps=8/255")
    before = column(page, "model", "published")
    assert before == ["ℓ∞-distance network, width 5120"]
    assert "not measured here" in page.find_element("css selector", "tr.apart").text
    head(page, "certified").find_element("tag name", "button").click()
    head(page, "certified").find_element("tag name", "button").click()
    assert column(page, "model", "published") == before
    assert "31 times the multiply-adds" in text_of(page, "published")


def test_unknown_values_and_what_was_never_measured(page):
    go(page, DIGITS)
    attacked = dict(zip(column(page, "model"), column(page, "attacked"), strict=True))
    assert attacked["never-attacked-digits"] == "–"
    costs = dict(zip(column(page, "model"), column(page, "ms/image"), strict=True))
    assert costs["linf-dist-digits"] == "3.3"
    assert NASTY in column(page, "notes")
    assert set(column(page, "deterministic")) == {"yes"}


def test_sorting_by_pointer_and_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    go(page, "#dataset=digits&norm=linf&eps=0.1&methods=all")
    assert {th.get_attribute("aria-sort") for th in page.find_elements("css selector", "th")} <= {
        "none",
        None,
    }
    head(page, "clean").find_element("tag name", "button").click()
    assert head(page, "clean").get_attribute("aria-sort") == "descending"
    shown = [float(text.rstrip("%")) for text in column(page, "clean")]
    assert shown == sorted(shown, reverse=True)

    head(page, "clean").find_element("tag name", "button").send_keys(Keys.ENTER)
    assert head(page, "clean").get_attribute("aria-sort") == "ascending"
    shown = [float(text.rstrip("%")) for text in column(page, "clean")]
    assert shown == sorted(shown)
    assert fragment(page)["sort"] == "clean"

    head(page, "parameters").find_element("tag name", "button").send_keys(Keys.SPACE)
    assert head(page, "clean").get_attribute("aria-sort") == "none"
    counts = [int(text.replace(",", "")) for text in column(page, "parameters")]
    assert counts == sorted(counts), "by size, not as text"

    button = head(page, "attacked").find_element("tag name", "button")
    for _ in range(2):
        button.click()
        assert column(page, "attacked")[-1] == "–", "what is unknown comes last either way"


def test_filters_act_on_table_and_charts(page):
    choose(page, "[name=dataset]", "digits")
    choose(page, "[name=norm]", "l2")
    choose(page, "[name=eps]", "0.5")
    expected = {r.name for r in RECORDS if (r.dataset, r.norm) == ("digits", "l2")}
    assert set(column(page, "model")) == expected
    assert drawn(page, "path.curve") == expected
    assert drawn(page, "circle.point") == expected
    captions = [e.text for e in page.find_elements("css selector", "figcaption")]
    assert captions == ["digits, L2", "digits, L2, eps 0.5"]
    choose(page, "[name=approach]", "crt")
    assert set(column(page, "model")) == drawn(page, "path.curve") == {"crt-digits"}

    page.find_element("css selector", "button[type=reset]").click()
    page.execute_async_script("setTimeout(arguments[0])")
    go(page, DIGITS)
    page.find_element("css selector", "[name=search]").send_keys("ABACUS")
    assert column(page, "model") == [], "the search is in what a row says of its training"
    page.find_element("css selector", "[name=search]").clear()
    page.find_element("css selector", "[name=search]").send_keys("Disputed interval")
    assert column(page, "model") == ["linf-dist-digits"]
    assert drawn(page, "path.curve") == {"linf-dist-digits"}

    page.find_element("css selector", "[name=search]").send_keys(" nothing of the kind")
    assert column(page, "model") == []
    assert drawn(page, "path.curve") == drawn(page, "circle.point") == set()
    assert page.find_element("id", "no-results").is_displayed()


def test_another_data_set_brings_budgets_that_exist_there(page):
    for dataset in {r.dataset for r in RECORDS}:
        choose(page, "[name=dataset]", dataset)
        threat = chosen(page)
        assert threat[0] == dataset
        assert column(page, "model") == [row["model"] for row in at(threat)] != []


def test_a_link_shows_the_same_view(page):
    go(page, DIGITS)
    page.find_element("css selector", "[name=methods]").click()
    choose(page, "[name=approach]", "linf-dist")
    page.find_element("css selector", "[name=search]").send_keys("interval & co")
    head(page, "clean").find_element("tag name", "button").click()
    for _ in range(5):
        page.find_element("css selector", "[name=search]").send_keys("\b")
    wanted = {"dataset": "digits", "norm": "linf", "eps": "0.1", "approach": "linf-dist"}
    assert fragment(page) == wanted | {"search": "interval", "methods": "all", "sort": "-clean"}
    before = column(page, "model"), chosen(page)
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    assert (column(page, "model"), chosen(page)) == before
    assert head(page, "clean").get_attribute("aria-sort") == "descending"
    assert page.find_element("css selector", "[name=methods]").is_selected()


@pytest.mark.parametrize("text", ["#dataset=nowhere&norm=linf&eps=9", "#eps=%ZZ", "#sort=x&=&&"])
def test_a_wrong_link_shows_what_there_is(page, text):
    first = chosen(page)
    go(page, text)
    assert chosen(page) == first
    assert column(page, "model") != []


def test_every_row_has_links_and_a_line_to_copy(page):
    go(page, DIGITS)
    page.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    for row, tr in zip(
        at(chosen(page)), page.find_elements("css selector", "#measured tr"), strict=True
    ):
        links = {a.text: a.get_attribute("href") for a in tr.find_elements("css selector", "th a")}
        expected = {"paper": row["paper_address"]}
        expected |= {key: row[key] for key in ("card", "recipe", "docs")}
        assert links == expected
        button = tr.find_element("css selector", "button.load")
        button.click()
        copied = page.execute_async_script(
            "const done = arguments[0];"
            "setTimeout(() => navigator.clipboard.readText().then(done, done), 50)"
        )
        assert copied == f'model = zoo.load("{row["model"]}")'


@pytest.mark.parametrize("everything", [False, True])
def test_the_csv_file_has_the_numbers(page, tmp_path, everything):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    go(page, DIGITS)
    page.find_element("id", "csv-all" if everything else "csv").click()
    deadline = time.monotonic() + 20
    while not (files := list(tmp_path.glob("*.csv"))):
        assert time.monotonic() < deadline, "nothing was downloaded"
        page.execute_async_script("setTimeout(arguments[0], 20)")
    table = list(csv.DictReader(io.StringIO(files[0].read_bytes().decode("utf-8"))))
    measured = [row for row in table if row["origin"] == "measured"]
    expected = rows_of_all() if everything else at(("digits", "linf", "0.1"))
    assert len(measured) == len(expected)
    for found, row in zip(measured, expected, strict=True):
        for key in ("certified", "certified_low", "certified_high", "clean"):
            assert float(found[key]) == row[key]
        for key in ("model", "eps", "method", "notes", "card"):
            assert found[key] == row[key]
        attacked = float(found["attacked"]) if found["attacked"] else None
        assert attacked == row["attacked"]
    papers = [row for row in table if row["origin"] == "paper"]
    threats = {(r["dataset"], r["norm"]) for r in rows_of_all()}
    count = sum(len(published(*threat)) for threat in threats) if everything else 0
    assert len(papers) == count


def test_a_line_is_read_off_the_radii_and_stays_below_the_measured_values(page):
    """The corners of the drawn line are those of the stored curve."""
    go(page, "#dataset=digits&norm=l2&eps=0.5")
    record = zoo.info("l2nnn-digits")
    points = page.execute_script(
        """
        const path = document.querySelector('path[data-model="l2nnn-digits"]');
        return path.getAttribute("d").match(/V[^V]+/g).map((step) =>
            step.slice(1).split("H").map(Number));
        """
    )
    heights, places = zip(*points, strict=True)
    assert len(points) > 200
    assert sorted(places) == list(places)
    assert sorted(heights) == list(heights), "down the page: accuracy falls"
    # Two corners give the scale of the axis; all others must agree with it.
    shares = [count / record.curve.n for count in record.curve.certified][: len(points)]
    scale = (heights[-2] - heights[0]) / (shares[-2] - shares[0])
    for height, share in zip(heights[:-1], shares[:-1], strict=True):
        assert height == pytest.approx(heights[0] + scale * (share - shares[0]), abs=0.02)
    values = page.find_elements("css selector", "#curves .legend button")
    shown = {b.get_attribute("data-model"): b.text.split()[-1] for b in values}
    assert shown["l2nnn-digits"] == f"{record.curve.accuracy('0.5'):.2%}"


def test_the_legend_reads_off_the_budget_under_the_pointer(page):
    from selenium.webdriver import ActionChains

    go(page, "#dataset=digits&norm=l2&eps=0.5")
    drawing = page.find_element("css selector", "#curves figure > svg")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawing)
    ActionChains(page).move_to_element_with_offset(drawing, 60, 0).perform()
    text = page.find_element("css selector", "#curves .probed").text
    eps = text.removeprefix("Certified at eps ").rstrip(":")
    assert eps != "0.5"
    values = page.find_elements("css selector", "#curves .legend button")
    shown = {b.get_attribute("data-model"): b.text.split()[-1] for b in values}
    curve = zoo.info("l2nnn-digits").curve
    share = float(shown["l2nnn-digits"].rstrip("%")) / 100
    # The budget is shown with three digits.
    assert curve.accuracy(float(eps) * 1.01) - 1e-4 <= share <= curve.accuracy(float(eps) * 0.99)


def test_without_stored_radii_the_line_is_steps_between_dots(page):
    go(page, DIGITS)
    model = "never-attacked-digits"
    path = page.find_element("css selector", f'path[data-model="{model}"]')
    steps = path.get_attribute("d")
    n = len({e.eps for e in zoo.info("linf-dist-digits").metrics.certified})
    assert steps.count("V") == steps.count("H") >= n
    titles = page.find_elements("css selector", "#curves circle title")
    texts = [title.get_attribute("textContent") for title in titles]
    assert len([text for text in texts if text.startswith(f"{model}: ")]) == n + 1
    assert f"{model}: 88.40% clean" in texts


def test_a_chart_has_six_lines_and_more_on_demand(page):
    go(page, "#dataset=mnist&norm=l2&eps=1.58")
    models = [row["model"] for row in at(chosen(page))]
    assert len(models) > 6
    assert drawn(page, "path.curve") == set(models[:6])
    page.find_element("css selector", f'#curves .legend [data-model="{models[6]}"]').click()
    assert drawn(page, "path.curve") == set(models[:7])
    page.find_element("css selector", f'#curves .legend [data-model="{models[0]}"]').click()
    assert drawn(page, "path.curve") == set(models[1:7])
    page.find_element("css selector", "#curves button.all").click()
    assert drawn(page, "path.curve") == set(models)
    choose(page, "[name=eps]", "1.0")
    assert len(drawn(page, "path.curve")) == 6


def test_the_scatter_shows_the_threat_model_with_intervals(page):
    go(page, DIGITS)
    expected = at(("digits", "linf", "0.1"))
    assert drawn(page, "circle.point") == {row["model"] for row in expected}
    assert page.find_element("css selector", "#scatter figcaption").text == "digits, ℓ∞, eps 0.1"
    title = page.find_element("css selector", "circle[data-model=linf-dist-digits] title")
    assert "88.40% clean, 80.00% certified, interval" in title.get_attribute("textContent")
    assert len(page.find_elements("css selector", "#scatter .whisker")) == len(expected)
    inside = page.execute_script(
        """
        const box = document.querySelector("#scatter svg").getBoundingClientRect();
        return [...document.querySelectorAll("#scatter .whisker, #scatter .point")].every((e) => {
            const own = e.getBoundingClientRect();
            return own.left >= box.left && own.right <= box.right
                && own.top >= box.top && own.bottom <= box.bottom;
        });
        """
    )
    assert inside, "the axes cover everything that is drawn"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_first_screen_has_the_numbers(page, scheme):
    phone = {"width": 390, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page.refresh()
    try:
        width, inner, background, headline, first = page.execute_script(
            """
            const box = (selector) => {
                const { right, bottom } = document.querySelector(selector).getBoundingClientRect();
                return [right, bottom];
            };
            return [document.documentElement.scrollWidth, innerWidth,
                    getComputedStyle(document.body).backgroundColor,
                    box("#headline b"), box("#measured td.certified")];
            """
        )
        assert width <= inner == 390, "only the table scrolls sideways"
        for right, bottom in (headline, first):
            assert right <= 390
            assert bottom <= 700
        red = int(background.split("(")[1].split(",")[0])
        assert (red > 128) == (scheme == "light")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
