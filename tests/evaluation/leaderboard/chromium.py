"""A headless Chromium for the tests of pages."""

import json
import shutil
import subprocess

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def why_not():
    """What is missing, or None."""
    if not any(map(shutil.which, BROWSERS)):
        return f"there is no Chromium: none of {', '.join(BROWSERS)} is on the path"
    if not shutil.which("chromedriver"):
        return "there is no chromedriver on the path"
    return None


def start(profile):
    """A driver of a fresh browser; ``profile`` is a new folder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1400,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Both programs by their paths: selenium would otherwise look for them on the network.
    service = Service(shutil.which("chromedriver"), log_output=subprocess.DEVNULL)
    return webdriver.Chrome(options=options, service=service)


def requests(driver):
    """Addresses that were asked for since the last call, outside the browser and the page."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith(("data:", "chrome:"))]
