"""The page in a real browser: it opens without a word in the console, and everything on it works."""

import shutil

import pytest

import calibrant
from graphs import conv, dense, graph_def, numbers, placeholder, tf

BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no browser: install chromium and chromedriver (Debian: chromium-driver)"
)


def network():
    x = placeholder([None, 6, 6, 2])
    y = tf.nn.relu(conv(x, name="first/conv"))
    z = tf.nn.relu(conv(y, name="second/conv", seed=7))
    flat = tf.reshape(tf.add(y, z, name="sum"), [-1, 144])
    tf.identity(dense(flat, name="dense"), name="out")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("browser")
    narrow = "override_layer_configs { layer_name: 'second/conv' calibration_config { ifmr_quantize { "
    narrow += "max_percentile: 0.7 search_range_start: 0.99 search_range_end: 1.01 } } }"
    calibrant.quantize(graph_def(network), narrow, numbers(64, 6, 6, 2), out, samples="all")
    return out / "report.html"


@pytest.fixture(scope="module")
def driver():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def use_scheme(driver, name):
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def opened(driver, page):
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    driver.get(page.as_uri())
    return driver


def layers(driver):
    rows = driver.find_elements("css selector", "#layer-table tbody tr")
    return [row.find_element("tag name", "th").text for row in rows if row.is_displayed()]


def test_nothing_is_said_in_the_console(opened):
    assert opened.get_log("browser") == []
    assert opened.find_element("css selector", "#growth-plot canvas").size["width"] > 200


def test_the_table_sorts_and_filters(opened):
    in_order = layers(opened)
    head = opened.find_element("css selector", "#layer-table thead button")
    head.click()
    assert layers(opened) == sorted(in_order)
    head.click()
    assert layers(opened) == sorted(in_order, reverse=True)
    filter_field = opened.find_element("id", "filter")
    filter_field.send_keys("SECOND")
    assert layers(opened) == ["second/conv"]
    assert opened.find_element("id", "count").text == "1 of 3"


def test_a_node_of_the_picture_opens_its_details(opened):
    opened.find_element("css selector", "#picture [data-layer='second/conv']").click()
    dialog = opened.find_element("id", "details")
    assert dialog.is_displayed()
    assert dialog.find_element("tag name", "h2").text == "second/conv"
    assert len(dialog.find_elements("tag name", "canvas")) == 4
    assert "clipped" in dialog.text
    dialog.find_element("css selector", ".close").click()
    assert not dialog.is_displayed()


def test_the_keyboard_is_enough(opened):
    from selenium.webdriver.common.keys import Keys

    node = opened.find_element("css selector", "#picture [data-layer='dense']")
    node.send_keys(Keys.ENTER)
    assert opened.find_element("css selector", "#details h2").text == "dense"
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not opened.find_element("id", "details").is_displayed()


def test_the_picture_zooms_and_moves(opened):
    picture = opened.find_element("id", "picture")
    views = [picture.get_dom_attribute("viewBox")]
    for name in ("in", "out", "all"):
        opened.find_element("css selector", f"[data-zoom='{name}']").click()
        views.append(picture.get_dom_attribute("viewBox"))
    width = [float(view.split()[2]) for view in views]
    assert width[1] < width[0] and width[2] == pytest.approx(width[0])
    assert views[3] == picture.get_attribute("data-view")


def test_a_suggestion_is_copied(opened):
    opened.execute_script("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    first = opened.find_element("css selector", ".findings .block")
    first.find_element("css selector", ".copy").click()
    assert opened.execute_script("return window.copied") == first.find_element("tag name", "pre").text + "\n"


def test_dark_and_printed(opened):
    def background():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    light = background()
    use_scheme(opened, "dark")
    assert background() != light
    printed = opened.execute_cdp_cmd("Page.printToPDF", {})
    assert len(printed["data"]) > 10_000
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not opened.find_element("css selector", ".zoom").is_displayed()
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_phone_needs_no_sideways_scrolling(opened):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        width = opened.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing(opened, scheme):
    from axe_core_python.selenium import Axe

    opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    opened.find_element("css selector", "#picture [data-layer='dense']").click()
    found = Axe().run(opened)
    opened.find_element("css selector", "#details .close").click()
    found = found["violations"] + Axe().run(opened)["violations"]
    assert [(entry["id"], [node["html"][:120] for node in entry["nodes"]]) for entry in found] == []
