#!/usr/bin/env python3
"""What a programme committee would send back: docs/report/check.py, after `make`.

At most five pages; letter; every font embedded; every reference cited; every figure and table mentioned; no text
outside of the columns' margins. The talk: 16:9, twelve slides at most, fonts embedded. Needs poppler-utils.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "docs/report/report.pdf"
TALK = ROOT / "docs/talk/talk.pdf"
PAGES_MAX = 5
LETTER = (612.0, 792.0)  # points
MARGIN = {"x": 54.0 - 3.5, "y": 72.0 - 1}  # points; punctuation may hang out a little; the page number stands below


def said(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def info(pdf):
    text = said("pdfinfo", pdf)
    size = re.search(r"Page size:\s+([\d.]+) x ([\d.]+)", text)
    return int(re.search(r"Pages:\s+(\d+)", text).group(1)), tuple(map(float, size.groups()))


def fonts_not_embedded(pdf):
    rows = said("pdffonts", pdf).splitlines()[2:]
    return [row for row in rows if not re.search(r"\byes\s+(yes|no)\s+(yes|no)\s+\d+\s+\d+$", row)]


def outside(pdf):
    """Words that begin or end outside of the text block."""
    pages = said("pdftotext", "-bbox", pdf, "-").split("<page ")[1:]
    for number, page in enumerate(pages, 1):
        for word in re.finditer(r'xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)<', page):
            left, top, right, bottom = map(float, word.groups()[:4])
            is_number = word.group(5) == str(number) and top > LETTER[1] - 72
            if not is_number and (left < MARGIN["x"] or right > LETTER[0] - MARGIN["x"] or top < MARGIN["y"] - 4
                                  or bottom > LETTER[1] - MARGIN["y"] + 4):
                yield f"page {number}: {word.group(5)!r} at {left:.0f}..{right:.0f}, {top:.0f}..{bottom:.0f}"


def main():
    wrong = []
    pages, size = info(REPORT)
    if pages > PAGES_MAX:
        wrong.append(f"report.pdf has {pages} pages")
    if size != LETTER:
        wrong.append(f"report.pdf is {size}, not letter")
    wrong += [f"report.pdf: {word} is outside of the margins" for word in outside(REPORT)]
    source = (ROOT / "docs/report/report.typ").read_text()
    keys = re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/report/refs.bib").read_text(), re.M)
    wrong += [f"nobody cites {key}" for key in keys if not re.search(rf"@{key}\b", source)]
    for label in re.findall(r"<((?:fig|tab)-\w+)>", source):
        if f"@{label}" not in source:
            wrong.append(f"nobody mentions {label}")
    for pdf in (REPORT, TALK):
        if not pdf.exists():
            wrong.append(f"{pdf} is not there")
            continue
        wrong += [f"{pdf.name}: a font is not embedded: {row}" for row in fonts_not_embedded(pdf)]
    if TALK.exists():
        slides, (width, height) = info(TALK)
        if slides > 12 or abs(width / height - 16 / 9) > 0.01:
            wrong.append(f"talk.pdf has {slides} slides of {width} x {height} points")
    print("\n".join(wrong) if wrong else f"report.pdf: {pages} pages, nothing wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
