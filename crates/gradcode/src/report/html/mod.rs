//! The report as one page that needs nothing else: no network, no scripts, figures inside.

mod markup;
mod sections;

use std::path::Path;

use super::Run;
use super::figures;
use super::format::{duration, percent, si, significant};
use super::table;
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use markup::{Cell, escaped};

const STYLE: &str = include_str!("style.css");

/// Writes the page; its directory is created if need be.
///
/// # Errors
/// Exit code 30 if it cannot be written.
pub fn write(runs: &[Run], path: &Path) -> Outcome {
    let text = page(runs)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    directory
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| {
            let message = format!("failed to write {}: {error}", path.display());
            Failure::new(ENVIRONMENT, message)
        })?;
    eprintln!("html: {}", path.display());
    Ok(())
}

/// The page's text.
fn page(runs: &[Run]) -> Outcome<String> {
    let title = match runs {
        [run] => run.label.clone(),
        _ => format!("{} runs", runs.len()),
    };
    let body = match runs {
        [run] => format!("{}{}", head(run, "h1", true), sections::of_run(run, "")?),
        _ => several(runs)?,
    };
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n{body}\
         <footer>Written by gradcode {version}, from {files}.</footer>\n</main></body></html>\n",
        title = escaped(&title),
        version = env!("CARGO_PKG_VERSION"),
        files = runs
            .iter()
            .map(|run| format!("<code>{}</code>", escaped(&run.summary.path)))
            .collect::<Vec<_>>()
            .join(", "),
    ))
}

/// Runs side by side, then each by itself.
fn several(runs: &[Run]) -> Outcome<String> {
    let mut text = format!("<header><h1>{} runs</h1><nav>", runs.len());
    for (number, run) in runs.iter().enumerate() {
        text.push_str(&format!(
            "<a href=\"#run-{number}\">{}</a>",
            escaped(&run.label)
        ));
    }
    text.push_str("</nav></header>\n<h2>Side by side</h2>\n");
    let names: Vec<String> = runs.iter().map(|run| format!("<{}", run.label)).collect();
    let mut headings = vec!["<"];
    headings.extend(names.iter().map(String::as_str));
    let mut shown = vec![];
    for section in table::sections(runs) {
        let heading = Cell::Heading(section.heading.to_owned(), headings.len());
        shown.push((false, vec![heading]));
        for (label, values) in section.rows {
            let name = match label.strip_prefix("  ") {
                Some(inner) => Cell::Sub(inner.to_owned()),
                None => Cell::Text(label),
            };
            // Aligned on the terminal by blanks.
            let words = |value: String| value.split_whitespace().collect::<Vec<_>>().join(" ");
            let values = values.into_iter().map(|value| Cell::Words(words(value)));
            shown.push((false, std::iter::once(name).chain(values).collect()));
        }
    }
    text.push_str(&markup::table(&headings, &shown));
    text.push_str(&sections::figures_of(
        figures::losses(runs, figures::HALF_PAGE)?,
        "pair",
    ));
    text.push_str(&sections::figures_of(figures::evaluations(runs)?, ""));
    for (number, run) in runs.iter().enumerate() {
        text.push_str(&format!("<section id=\"run-{number}\">"));
        text.push_str(&head(run, "h1", false));
        text.push_str(&sections::of_run(run, &format!("run-{number}-"))?);
        text.push_str("</section>\n");
    }
    Ok(text)
}

/// Title, ending, facts in a line, cards, findings.
fn head(run: &Run, level: &str, navigation: bool) -> String {
    let summary = &run.summary;
    let attribute = |name: &str| table::attribute(summary, name);
    let status = run.explanation.events.status.as_ref();
    let badge = status.map_or_else(String::new, |status| {
        let outcome = escaped(&status.outcome);
        format!("<span class=\"badge {outcome}\">{outcome}</span>")
    });
    let ranks = match attribute("mpi_ranks").as_str() {
        "" | "0" | "1" => String::new(),
        ranks => format!(" on {ranks} ranks"),
    };
    let facts: Vec<String> = [
        format!("scheme {}", summary.scheme),
        format!("{} workers{ranks}", summary.workers),
        format!("{} parameters", attribute("dimension")),
        attribute("model"),
        attribute("device"),
        attribute("hosts"),
        format!("seed {}", attribute("seed")),
        attribute("date_created"),
    ]
    .into_iter()
    .filter(|fact| !fact.is_empty())
    .map(|fact| escaped(&fact))
    .collect();
    let navigation = if navigation {
        let links = sections::NAMES.map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>"));
        format!("<nav>{}</nav>", links.concat())
    } else {
        String::new()
    };
    let cards: Vec<String> = cards(run)
        .into_iter()
        .map(|(name, value, more)| {
            format!(
                "<div class=\"card\"><div class=\"name\">{}</div><div class=\"value\">{}</div><div class=\"more\">{}</div></div>",
                escaped(&name),
                escaped(&value),
                escaped(&more)
            )
        })
        .collect();
    format!(
        "<header><{level}>{}{badge}</{level}><p class=\"muted\">{}</p>{navigation}</header>\n<div class=\"cards\">{}</div>\n{}",
        escaped(&run.label),
        facts.join(" &middot; "),
        cards.join("\n"),
        sections::findings(run)
    )
}

/// Name, value and one more line.
fn cards(run: &Run) -> Vec<(String, String, String)> {
    let (summary, explained) = (&run.summary, &run.explanation);
    let (totals, deadline) = (&summary.totals, &explained.deadline);
    let mut cards = vec![];
    let metrics = &summary.metrics.r#final;
    let leading = ["AP50", "AP", "accuracy"]
        .into_iter()
        .find(|name| metrics.contains_key(*name))
        .or_else(|| metrics.keys().next().map(String::as_str));
    if let Some(name) = leading {
        let best = summary
            .metrics
            .best
            .get(name)
            .map_or_else(String::new, |best| {
                format!(
                    "best {} after {}",
                    significant(best.value, 3),
                    best.iteration
                )
            });
        cards.push((
            format!("{name}, held-out"),
            significant(metrics[name].value, 3),
            best,
        ));
    }
    cards.push((
        "training loss".into(),
        significant(summary.loss.last, 3),
        format!("from {}", significant(summary.loss.first, 3)),
    ));
    let planned = explained
        .events
        .status
        .as_ref()
        .map_or(0, |status| status.iterations);
    cards.push((
        "iterations".into(),
        summary.iterations.to_string(),
        match planned {
            planned if planned > summary.iterations => format!("of {planned}"),
            _ => format!(
                "{} per second",
                significant(summary.iterations as f64 / explained.time.rounds, 3)
            ),
        },
    ));
    cards.push(("time".into(), duration(explained.time.wall), {
        match explained.circumstances.simulated {
            true => "simulated in one process".into(),
            false => {
                let share = totals.seconds.wait / explained.time.wall;
                format!("{} waiting for workers", percent(share))
            }
        }
    }));
    let asked = totals.responders + totals.late;
    cards.push((
        "gradients in time".into(),
        percent(totals.responders as f64 / asked as f64),
        format!("{} of {asked}", totals.responders),
    ));
    if deadline.waited_for {
        cards.push((
            "waited in vain".into(),
            percent(deadline.in_vain_share),
            format!("{}, for those who missed it", duration(deadline.in_vain)),
        ));
    }
    cards.push((
        "sent by the workers".into(),
        si(totals.bits_up as f64, "bit"),
        match totals.compression_saved {
            saved if saved > 0.0 => format!("{} less than as f32", percent(saved)),
            _ => format!("and {} to them", si(totals.bits_down as f64, "bit")),
        },
    ));
    if explained.accuracy.samples > 0 {
        cards.push((
            "error of the gradient".into(),
            percent(explained.accuracy.measured),
            match explained.accuracy.predicted {
                bound if bound.is_finite() => format!("bound {} if alike", percent(bound)),
                _ => "root mean square".into(),
            },
        ));
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::super::testing::opened;
    use super::*;

    #[test]
    fn the_page_is_whole_without_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = opened(dir.path(), "a <b> & \"c\"", 50);
        let path = dir.path().join("new/page.html");
        write(&[run], &path).ok().unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
        assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !page.contains("<b> &"));
        for outside in ["<script", "<link", "src=", "url(", "@import", "NaN", "inf "] {
            assert!(!page.contains(outside), "{outside}");
        }
        // The only addresses are those of the SVG name space.
        let addresses = page.matches("http").count();
        assert_eq!(
            addresses,
            page.matches("http://www.w3.org/2000/svg").count()
        );
        for (id, _) in sections::NAMES {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        let count = |what: &str| page.matches(what).count();
        for element in [
            "table", "tr", "td", "figure", "svg", "div", "section", "ul", "li",
        ] {
            let opened = count(&format!("<{element} ")) + count(&format!("<{element}>"));
            assert_eq!(opened, count(&format!("</{element}>")), "{element}");
        }
    }

    #[test]
    fn empty_runs_and_several_runs_have_pages() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runs = [opened(a.path(), "empty", 0), opened(b.path(), "full", 9)];
        let both = page(&runs).ok().unwrap();
        assert!(both.contains("Side by side") && both.contains("id=\"run-1\""));
        assert!(page(&runs[..1]).ok().unwrap().contains("no iteration"));
    }
}
