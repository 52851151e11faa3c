//! One image with boxes, a panel per model, as an SVG file that carries the image.

use std::fmt::Write;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A box and its text.
pub struct Label {
    /// `[x, y, width, height]` in pixels of the image.
    pub bbox: [f64; 4],
    /// Class, which decides the colour.
    pub class: i64,
    /// What stands at the box.
    pub text: String,
}

/// One model's boxes on the image.
pub struct Panel {
    /// Above the image.
    pub title: String,
    /// Width and height of the image in pixels.
    pub size: (u32, u32),
    /// The boxes, most certain first.
    pub labels: Vec<Label>,
}

impl Panel {
    /// A panel whose image size is not known yet.
    pub fn new(title: &str, labels: Vec<Label>) -> Self {
        Self {
            title: title.to_owned(),
            size: (1, 1),
            labels,
        }
    }
}

/// Width of a panel in the picture.
const PANEL: f64 = 320.0;
/// Space between panels and around them.
const GAP: f64 = 12.0;
/// Height of a title.
const TITLE: f64 = 26.0;
/// Panels in a row.
const PER_ROW: usize = 4;

/// Colours of classes, distinct also for colour-blind readers (Okabe and Ito).
const PALETTE: [&str; 7] = [
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442",
];

/// The picture; the image of the file at `path` is embedded once.
///
/// # Errors
/// When the file cannot be read.
pub fn svg(path: &Path, panels: &[Panel]) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let kind = if bytes.starts_with(b"\x89PNG") {
        "png"
    } else {
        "jpeg"
    };
    let size = panels.first().map_or((1, 1), |panel| panel.size);
    let scale = PANEL / f64::from(size.0.max(1));
    let height = f64::from(size.1) * scale;
    let columns = panels.len().clamp(1, PER_ROW);
    let rows = panels.len().div_ceil(PER_ROW).max(1);
    let total = (
        columns as f64 * (PANEL + GAP) + GAP,
        rows as f64 * (height + TITLE + GAP) + GAP,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <defs><image id=\"image\" width=\"{PANEL}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         href=\"data:image/{kind};base64,{2}\"/>\n\
         <clipPath id=\"frame\"><rect width=\"{PANEL}\" height=\"{height}\"/></clipPath></defs>\n",
        total.0,
        total.1,
        STANDARD.encode(&bytes),
    );
    for (i, panel) in panels.iter().enumerate() {
        let x = GAP + (i % PER_ROW) as f64 * (PANEL + GAP);
        let y = GAP + (i / PER_ROW) as f64 * (height + TITLE + GAP);
        let _ = write!(
            out,
            "<text x=\"{x}\" y=\"{}\" font-size=\"16\">{}</text>\n\
             <g transform=\"translate({x} {})\" clip-path=\"url(#frame)\"><use href=\"#image\"/>\n",
            y + 17.0,
            escaped(&panel.title),
            y + TITLE,
        );
        // The most certain box is drawn last, on top.
        for label in panel.labels.iter().rev() {
            boxed(&mut out, label, scale);
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn boxed(out: &mut String, label: &Label, scale: f64) {
    let [x, y, width, height] = label.bbox.map(|v| v * scale);
    let colour = PALETTE[label.class.unsigned_abs() as usize % PALETTE.len()];
    // Inside the image also where the box touches its upper edge.
    let top = (y - 16.0).max(0.0);
    let _ = write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" \
         stroke=\"{colour}\" stroke-width=\"2.5\"/>\n\
         <rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\" \
         fill-opacity=\"0.85\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" fill=\"white\">{}</text>\n",
        7.2 * label.text.chars().count() as f64 + 6.0,
        x + 3.0,
        top + 12.5,
        escaped(&label.text),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_scaled_with_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("i.png");
        std::fs::write(&path, b"\x89PNG").unwrap();
        let label = Label {
            bbox: [10.0, 20.0, 30.0, 40.0],
            class: 1,
            text: "a < b".to_owned(),
        };
        let mut panel = Panel::new("joint & exact", vec![label]);
        panel.size = (160, 80);
        let svg = svg(&path, &[panel]).unwrap();
        // 320 / 160 = 2 picture units per pixel.
        assert!(svg.contains("x=\"20.0\" y=\"40.0\" width=\"60.0\" height=\"80.0\""));
        assert!(svg.contains("a &lt; b") && svg.contains("joint &amp; exact"));
        assert!(svg.contains("data:image/png;base64,iVBORw=="));
    }
}
