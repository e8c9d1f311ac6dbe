//! The matrix as a page that needs nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::attack::{Cell, Class, Matrix, Row, Setting, Summary, Verdict};

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}
h1{font-size:1.5em}p{max-width:60em}
table{border-collapse:collapse;font-size:12px}
th,td{border:1px solid #ccc;padding:2px 5px;vertical-align:top;text-align:left}
thead th{position:sticky;top:0;background:#f4f4f4}
th[scope=rowgroup]{background:#e8e8ee;font-size:13px}
td small{color:#666;display:block}
.passed,.blocked{background:#d7f0d7}.stopped{background:#eaf5ea}.na{background:#f4f4f4;color:#888}
.known{background:#ffe9b8}.bad{background:#f6b5b5;font-weight:bold}
.summary td{font-size:14px}.stock{color:#a33}.wide{min-width:22em}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}thead th,.na{background:#262626}
th[scope=rowgroup]{background:#2d2d38}.passed,.blocked{background:#1f4526}.stopped{background:#1b3320}
.known{background:#5a4510}.bad{background:#7a2222}.stock{color:#f0a0a0}td small{color:#aaa}th,td{border-color:#444}}";

/// The page.
pub(super) fn page(matrix: &Matrix) -> String {
    let summary = matrix.summary();
    let settings: Vec<Setting> = matrix
        .rows
        .first()
        .map(|row| row.cells.iter().map(|cell| cell.setting).collect())
        .unwrap_or_default();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "ipvlan isolation audit, Linux " (matrix.kernel) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "ipvlan isolation audit" }
                p {
                    "Linux " (matrix.kernel) ", ipvlan-ctl " (matrix.version) ", " (matrix.date) ". Each case was tried on stock \
                    ipvlan, made with ip(8), and on networks made by ipvlan-ctl, in a sandbox of network namespaces: a host, a LAN \
                    behind its parent interface, and six endpoints of three networks. Every place was watched at once for a marker."
                }
                (overview(&summary))
                h2 { "Matrix" }
                p { "Above: what came of it under enforcement. Below, in small letters: where stock ipvlan lets it come out." }
                (table(matrix, &settings))
                (advice(matrix))
            }
        }
    };
    markup.into_string()
}

fn overview(summary: &Summary) -> Markup {
    html! {
        table.summary {
            tr { th { "tried" } td { (summary.tried) } }
            tr { th { "attacks that come through on stock ipvlan" } td.stock { (summary.through_stock) } }
            @for (verdict, count) in &summary.verdicts {
                tr { th { "enforced: " (verdict) } td class=(Verdict::from_text(verdict).map_or("", class)) { (count) } }
            }
        }
    }
}

fn table(matrix: &Matrix, settings: &[Setting]) -> Markup {
    let mut groups: Vec<(Class, Vec<&Row>)> = Vec::new();
    for row in &matrix.rows {
        match groups.last_mut() {
            Some((class, rows)) if *class == row.class => rows.push(row),
            _ => groups.push((row.class, vec![row])),
        }
    }
    html! {
        table {
            thead {
                tr {
                    th { "case" } th.wide { "what happens" } th { "family" } th { "needs" }
                    @for setting in settings { th { (setting) } }
                }
            }
            @for (class, rows) in groups {
                tbody {
                    tr { th scope="rowgroup" colspan=(4 + settings.len()) { (class) } }
                    @for row in rows {
                        tr {
                            th scope="row" { (row.case) }
                            td { (row.what) }
                            td { (row.family) }
                            td { (row.needs) }
                            @for cell in &row.cells { (entry(cell)) }
                        }
                    }
                }
            }
        }
    }
}

fn entry(cell: &Cell) -> Markup {
    html! {
        td class=(class(cell.verdict)) title=[cell.note.as_deref()] {
            (enforced(cell))
            @if cell.verdict != Verdict::Pointless { small { (stock(cell)) } }
        }
    }
}

fn advice(matrix: &Matrix) -> Markup {
    let known = |row: &&Row| row.cells.iter().any(|cell| cell.verdict == Verdict::NotContained);
    let mut rows: Vec<&Row> = matrix.rows.iter().filter(known).collect();
    rows.dedup_by_key(|row| row.case);
    html! {
        @if !rows.is_empty() {
            h2 { "Not contained" }
            ul { @for row in rows { li { b { (row.case) } ", " (row.what) ": " (row.advice.unwrap_or_default()) "." } } }
        }
    }
}

const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Blocked => "blocked",
        Verdict::Stopped => "stopped",
        Verdict::Pointless => "na",
        Verdict::NotContained => "known",
        Verdict::Uncounted | Verdict::Missing | Verdict::Failed | Verdict::CameThrough => "bad",
    }
}

/// Where stock ipvlan lets it come out.
pub(super) fn stock(cell: &Cell) -> String {
    match cell.stock_works {
        Some(true) => "passed".to_owned(),
        None if !cell.stock.is_empty() => places(cell.stock.iter()),
        _ => "stopped".to_owned(),
    }
}

/// What came of it under enforcement.
pub(super) fn enforced(cell: &Cell) -> String {
    let at = || places(cell.reached.iter());
    match (cell.verdict, cell.reason) {
        (Verdict::Blocked, Some(reason)) if cell.reached.is_empty() => reason.to_owned(),
        (Verdict::Blocked, Some(reason)) => format!("{}; else {reason}", at()),
        (Verdict::Passed | Verdict::CameThrough, _) if !cell.reached.is_empty() => {
            format!("{}: {}", cell.verdict, at())
        }
        _ => cell.verdict.to_string(),
    }
}

fn places<'a>(places: impl Iterator<Item = &'a crate::attack::Place>) -> String {
    places.map(|place| place.as_str()).collect::<Vec<_>>().join(", ")
}
