//! A laid-out picture as an SVG file that carries the photograph.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Colour;
use super::layout::{Layout, Shape};
use super::text::Letters;

/// Draws `layout`; `file` is the photograph's JPEG or PNG file, embedded once.
pub fn svg(layout: &Layout, file: &[u8], letters: &Letters) -> String {
    let kind = if file.starts_with(b"\x89PNG") {
        "png"
    } else {
        "jpeg"
    };
    let (width, height) = (layout.width, layout.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut embedded = false;
    for shape in &layout.shapes {
        // Writing to a string cannot fail.
        let _ = match shape {
            Shape::Image([x, y, width, height]) => {
                if !std::mem::replace(&mut embedded, true) {
                    let _ = writeln!(
                        out,
                        "<defs><image id=\"image\" width=\"{width}\" height=\"{height}\" \
                         preserveAspectRatio=\"none\" href=\"data:image/{kind};base64,{}\"/></defs>",
                        STANDARD.encode(file)
                    );
                }
                writeln!(out, "<use href=\"#image\" x=\"{x}\" y=\"{y}\"/>")
            }
            Shape::Fill([x, y, width, height], colour) => writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                hex(*colour)
            ),
            Shape::Frame {
                rectangle: [x, y, width, height],
                width: line,
                colour,
            } => writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" \
                 stroke=\"{}\" stroke-width=\"{line}\"/>",
                x + line / 2.0,
                y + line / 2.0,
                (width - line).max(0.0),
                (height - line).max(0.0),
                hex(*colour)
            ),
            Shape::Text {
                text,
                at: (x, y),
                height,
                colour,
            } => writeln!(
                out,
                // A font's size is that of its em; lines of DejaVu Sans are 1.164 em high.
                "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{:.1}\" fill=\"{}\">{}</text>",
                y + letters.ascent(*height),
                height / 1.164,
                hex(*colour),
                escaped(text)
            ),
        };
    }
    out.push_str("</svg>\n");
    out
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
