//! The sweep's chart: CPU per request as a part of the rival's, a line for each kind of request, a mark for
//! each pipeline.
//!
//! It is written by hand as SVG, so that it needs nothing, and brings its colours for light and dark
//! backgrounds. Two columns of families, filled one after the other.

use std::fmt::Write as _;

use crate::sweep::Workload;
use crate::sweep_state::State;

const COLUMN: f64 = 620.0;
/// Where the scale of a column begins and ends.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 600.0;
/// The ratio at the end of the scale; what is beyond stands at the edge.
const MOST: f64 = 1.2;
const LINE: f64 = 15.0;
const HEAD: f64 = 84.0;

const STYLE: &str = "\
text{font:11px system-ui,sans-serif;fill:#24292f}\
.title{font-size:16px;font-weight:600}.family{font-weight:600}.small{font-size:10px;fill:#57606a}\
.grid{stroke:#d0d7de}.one{stroke:#cf222e;stroke-width:1.5}.back{fill:#ffffff}.band{fill:#f3f5f7}\
.p1{fill:#bf5600}.p16{fill:#0969da}.p64{fill:#1a7f37}\
.other{fill:none;stroke:#8c959f}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.grid{stroke:#3d444d}\
.one{stroke:#ff7b72}.back{fill:#0d1117}.band{fill:#161b22}\
.p1{fill:#ffa657}.p16{fill:#79c0ff}.p64{fill:#7ee787}.other{stroke:#6e7681}}";

/// A request with its marks, or the head of a family.
enum Row {
    Family(&'static str),
    Request {
        name: String,
        /// Pipelines and the ratios to the other servers.
        marks: Vec<(u64, Vec<f64>)>,
    },
}

/// The chart; `names` are those of the contenders.
pub(crate) fn draw(workloads: &[Workload], state: &State, names: &[&str]) -> String {
    let columns = columns(rows(workloads, state));
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let width = COLUMN * columns.len() as f64;
    let height = HEAD + LINE * longest as f64 + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\"><title>Server CPU per request</title><style>{STYLE}</style>\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    head(&mut svg, names);
    for (index, column) in columns.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<g transform=\"translate({} 0)\">",
            COLUMN * index as f64
        );
        draw_column(&mut svg, column);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn rows(workloads: &[Workload], state: &State) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut before = ("", String::new());
    for workload in workloads {
        let Some(medians) = state.medians(&workload.label) else {
            continue;
        };
        let ours = medians[0].cpu_us;
        let ratios: Vec<f64> = medians[1..].iter().map(|of| ours / of.cpu_us).collect();
        if ratios.iter().any(|ratio| !ratio.is_finite()) {
            continue;
        }
        if workload.family != before.0 {
            rows.push(Row::Family(workload.family));
        }
        let name = match workload.connections {
            50 => workload.name.to_string(),
            others => format!("{}, c{others}", workload.name),
        };
        let this = (workload.family, name.clone());
        let mark = (workload.pipeline, ratios);
        match rows.last_mut() {
            Some(Row::Request { marks, .. }) if this == before => marks.push(mark),
            _ => rows.push(Row::Request {
                name,
                marks: vec![mark],
            }),
        }
        before = this;
    }
    rows
}

/// Two columns of about equal length, none of which begins within a family.
fn columns(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let half = rows.len().div_ceil(2);
    let mut columns = vec![Vec::new(), Vec::new()];
    for (index, row) in rows.into_iter().enumerate() {
        let second = !columns[1].is_empty();
        let begins = index + 3 >= half && matches!(row, Row::Family(_));
        columns[usize::from(second || begins)].push(row);
    }
    columns.retain(|column| !column.is_empty());
    columns
}

fn head(svg: &mut String, names: &[&str]) {
    let (ours, rival) = (names[0], names[1]);
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"12\" y=\"24\">CPU per request, {ours} / {rival} \
         (left of the red line: less)</text>"
    );
    let mut x = 16.0;
    for (class, label) in [
        ("p1", "pipeline 1"),
        ("p16", "pipeline 16"),
        ("p64", "pipeline 64"),
    ] {
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"42\" r=\"4\"/><text x=\"{}\" y=\"46\">{label}</text>",
            x + 8.0
        );
        x += 90.0;
    }
    if let Some(other) = names.get(2) {
        let _ = writeln!(
            svg,
            "<circle class=\"other\" cx=\"{x}\" cy=\"42\" r=\"3\"/>\
             <text x=\"{}\" y=\"46\">the same / {other}</text>",
            x + 8.0
        );
    }
}

fn x_of(ratio: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * ratio.clamp(0.0, MOST) / MOST
}

fn draw_column(svg: &mut String, rows: &[Row]) {
    let bottom = HEAD + LINE * rows.len() as f64;
    for (index, row) in rows.iter().enumerate() {
        if matches!(row, Row::Family(_)) {
            let y = HEAD + LINE * index as f64;
            let _ = writeln!(
                svg,
                "<rect class=\"band\" x=\"8\" y=\"{y}\" width=\"{}\" height=\"{LINE}\"/>",
                COLUMN - 12.0
            );
        }
    }
    for tenth in (0..=12).step_by(2) {
        let ratio = f64::from(tenth) / 10.0;
        let (x, class) = (x_of(ratio), if tenth == 10 { "one" } else { "grid" });
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{bottom}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{ratio:.1}</text>",
            HEAD - 6.0
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = HEAD + LINE * (index as f64 + 0.5);
        let base = y + 4.0;
        match row {
            Row::Family(name) => {
                let _ = writeln!(
                    svg,
                    "<text class=\"family\" x=\"12\" y=\"{base}\">{name}</text>"
                );
            }
            Row::Request { name, marks } => {
                let name = name.replace('&', "&amp;").replace('<', "&lt;");
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{name}</text>",
                    LEFT - 10.0
                );
                marks.iter().for_each(|mark| draw_mark(svg, y, mark));
            }
        }
    }
}

fn draw_mark(svg: &mut String, y: f64, (pipeline, ratios): &(u64, Vec<f64>)) {
    for ratio in &ratios[1..] {
        let x = x_of(*ratio);
        let _ = writeln!(
            svg,
            "<circle class=\"other\" cx=\"{x:.1}\" cy=\"{y}\" r=\"3\"/>"
        );
    }
    let x = x_of(ratios[0]);
    let _ = writeln!(
        svg,
        "<circle class=\"p{pipeline}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"4\"/>"
    );
}
