"""Pictures of report pages in a headless browser.

Run: python tools/screenshots.py report.html [more.html …] --out FOLDER; needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")


def main() -> None:
    """Write PAGE_light.png, PAGE_dark.png and PAGE_details.png for every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/screenshots"))
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        for page in words.pages:
            name = page.resolve().parent.name
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                driver.set_window_size(1280, 1900)
                driver.get(page.resolve().as_uri())
                driver.save_screenshot(str(words.out / f"{name}_{scheme}.png"))
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
            driver.set_window_size(1280, 1300)
            driver.get(page.resolve().as_uri())
            driver.find_element("css selector", ".worst button").click()
            driver.save_screenshot(str(words.out / f"{name}_details.png"))
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
