"""Compiles the report and the talk; called by `make`. Says which results are recorded, so that the sources leave
out what is not."""

from pathlib import Path

import typst

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "docs/benchmarks/2026-11-30"
FONTS = ["/usr/share/texmf/fonts/opentype/public/tex-gyre"]

recorded = ",".join(sorted(file.name for file in RUN.glob("*.csv")))
for source in ("docs/report/report.typ", "docs/talk/talk.typ"):
    if (ROOT / source).exists():
        # The date would make each build differ.
        typst.compile(str(ROOT / source), output=str(ROOT / source.replace(".typ", ".pdf")), root=str(ROOT / "docs"),
                      font_paths=FONTS, sys_inputs={"recorded": recorded}, timestamp=0)
