//! What is told: tables on standard output, and the same with all figures in `target/versus/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::chart::Chart;
use crate::draw::draw;
use crate::figures::Figures;
use crate::setup::Setup;
use crate::support::{Result, is_quick, machine, progress};
use crate::systems::version;

/// One question.
pub struct Section {
    /// The word that chooses it on the command line.
    pub word: &'static str,
    pub question: &'static str,
    /// How it is measured, for the reader of its table.
    pub method: &'static str,
    pub run: fn(&Setup, &mut Figures) -> Result<()>,
    pub table: fn(&Figures) -> String,
    pub charts: fn(&Figures) -> Vec<Chart>,
}

/// Everything told so far.
pub struct Report {
    directory: PathBuf,
    markdown: String,
    csv: Vec<u8>,
}

impl Report {
    pub fn begin(setup: &Setup) -> Result<Report> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("versus");
        fs::create_dir_all(&directory)?;
        let markdown = heading(setup);
        print!("{markdown}");
        Ok(Report {
            directory,
            markdown,
            csv: b"section,system,setting,quantity,unit,median,min,max,rounds\n".to_vec(),
        })
    }

    /// Adds a section, and writes all there is: what fails later takes nothing away.
    pub fn add(&mut self, section: &Section, figures: &Figures) -> Result<()> {
        let Section {
            question, method, ..
        } = section;
        let table = (section.table)(figures);
        let mut text = format!("\n## {question}\n\n{method}\n\n{table}");
        for chart in (section.charts)(figures) {
            draw(&chart, &self.directory)?;
            let titles = chart.panels.iter().map(|panel| panel.title.as_str());
            let titles = titles.collect::<Vec<_>>().join("; ");
            text += &format!("\n![{titles}]({}.svg)\n", chart.name);
        }
        print!("{text}");
        self.markdown += &text;
        figures.write_csv(section.word, &mut self.csv)?;
        fs::write(self.directory.join("results.md"), &self.markdown)?;
        fs::write(self.directory.join("results.csv"), &self.csv)?;
        Ok(())
    }

    pub fn end(&self) {
        progress(format!("written to {}", self.directory.display()));
    }
}

fn heading(setup: &Setup) -> String {
    let date = version("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
    let mut text = format!("# herd beside others, {date}\n\n{}; ", machine());
    text += match setup.cores {
        Some(_) => "servers on one core, the generator on another",
        None => "not pinned to cores: that takes two of them, and taskset",
    };
    text += &format!(
        ". Medians of {} interleaved rounds, minimum and maximum in parentheses. Made by \
         `cargo bench --bench versus`, which leaves it in `target/versus/`; a run to keep is copied \
         from there to a folder of `docs/benchmarks/`.\n\n| system | version |\n|---|---|\n",
        setup.rounds
    );
    for system in &setup.systems.found {
        text += &format!("| {} | {} |\n", system.name, system.version);
    }
    let rustc = version("rustc", &["--version"]).unwrap_or_default();
    text += &format!("| compiler | {rustc} |\n");
    for (name, how) in &setup.systems.absent {
        text += &format!("| {name} | not here; to get it: `{how}` |\n");
    }
    if is_quick() {
        text += "\nThe tiny version: it works, but the figures mean nothing.\n";
    }
    text
}
