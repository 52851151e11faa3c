//! Where everything stands on a picture: panels in rows, a frame per box, and tags that keep clear of
//! each other.

use super::text::Letters;
use super::{Colour, PALETTE, Panel};

/// A rectangle in pixels of the picture: x, y, width, height.
pub type Rectangle = [f32; 4];

/// Something to draw, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The photograph.
    Image(Rectangle),
    /// A filled rectangle.
    Fill(Rectangle, Colour),
    /// The outline of a rectangle, `width` pixels inwards.
    Frame {
        /// Its outer edge.
        rectangle: Rectangle,
        /// Of its line.
        width: f32,
        /// Of its line.
        colour: Colour,
    },
    /// A line of text.
    Text {
        /// What it says.
        text: String,
        /// Upper left corner of the line.
        at: (f32, f32),
        /// Line height in pixels.
        height: f32,
        /// Of the letters.
        colour: Colour,
    },
}

/// A picture before it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is on it.
    pub shapes: Vec<Shape>,
}

/// A panel is as wide as the image, but not below and not above these: small images are scaled up so
/// that tags find room.
const NARROWEST: f32 = 384.0;
const WIDEST: f32 = 640.0;
/// Space between panels and around them.
const GAP: f32 = 12.0;
/// Line heights.
const TITLE: f32 = 24.0;
const TAG: f32 = 17.0;
/// Space between a tag's edge and its letters.
const PADDING: f32 = 4.0;
/// Line width of a box, and of the dark edge on both sides of it.
const LINE: f32 = 3.0;
const EDGE: f32 = 1.0;
/// Panels in a row.
const PER_ROW: usize = 4;

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

/// Lays out one image of `size` pixels with a panel per model.
pub fn lay_out(size: (u32, u32), panels: &[Panel], letters: &Letters) -> Layout {
    let [image_width, image_height] = [size.0, size.1].map(|side| side.max(1) as f32);
    let width = image_width.clamp(NARROWEST, WIDEST).round();
    let scale = width / image_width;
    let height = (image_height * scale).round().max(1.0);
    let columns = panels.len().clamp(1, PER_ROW);
    let rows = panels.len().div_ceil(PER_ROW).max(1);
    let title = TITLE + 4.0;
    let mut shapes = vec![];
    for (i, panel) in panels.iter().enumerate() {
        let x = GAP + (i % PER_ROW) as f32 * (width + GAP);
        let y = GAP + (i / PER_ROW) as f32 * (height + title + GAP);
        shapes.push(Shape::Text {
            text: letters.fitted(&panel.title, TITLE, width),
            at: (x, y),
            height: TITLE,
            colour: BLACK,
        });
        panel_shapes(
            [x, y + title, width, height],
            scale,
            panel,
            letters,
            &mut shapes,
        );
    }
    Layout {
        width: (columns as f32 * (width + GAP) + GAP) as u32,
        height: (rows as f32 * (height + title + GAP) + GAP) as u32,
        shapes,
    }
}

fn panel_shapes(
    frame: Rectangle,
    scale: f32,
    panel: &Panel,
    letters: &Letters,
    shapes: &mut Vec<Shape>,
) {
    shapes.push(Shape::Image(frame));
    let boxes: Vec<(Rectangle, Colour)> = panel
        .labels
        .iter()
        .map(|label| {
            let [x, y, width, height] = label.bbox.map(|v| v as f32 * scale);
            let moved = [x + frame[0], y + frame[1], width, height];
            (clipped(moved, frame), colour(label.class))
        })
        .collect();
    // The most certain box comes last, on top.
    for (rectangle, colour) in boxes.iter().rev() {
        shapes.push(Shape::Frame {
            rectangle: *rectangle,
            width: LINE + 2.0 * EDGE,
            colour: BLACK,
        });
        shapes.push(Shape::Frame {
            rectangle: grown(*rectangle, -EDGE),
            width: LINE,
            colour: *colour,
        });
    }
    // Tags lie above all boxes; the most certain chooses its place first.
    let mut placed: Vec<Rectangle> = vec![];
    for (label, (rectangle, colour)) in panel.labels.iter().zip(&boxes) {
        let text = letters.fitted(&label.text, TAG, frame[2] - 2.0 * PADDING);
        let size = (letters.width(&text, TAG).ceil() + 2.0 * PADDING, TAG + 2.0);
        let tag = place(*rectangle, size, frame, &placed);
        placed.push(tag);
        shapes.push(Shape::Fill(tag, *colour));
        shapes.push(Shape::Text {
            text,
            at: (tag[0] + PADDING, tag[1] + 1.0),
            height: TAG,
            colour: legible_on(*colour),
        });
    }
}

/// The place beside a box, within `frame`, where a tag covers the least of those already placed: above
/// the box if it can, else below, inside, or at its other end.
fn place(
    [x, y, width, height]: Rectangle,
    (tag_width, tag_height): (f32, f32),
    frame: Rectangle,
    placed: &[Rectangle],
) -> Rectangle {
    let (right, bottom) = (x + width - tag_width, y + height);
    let inner = bottom - tag_height;
    let mut candidates = vec![
        (x, y - tag_height),
        (x, bottom),
        (right, y - tag_height),
        (right, bottom),
        (x, y),
        (x, inner),
        (right, y),
        (right, inner),
    ];
    // Stacks of boxes: further down inside, line by line.
    candidates.extend((1..6).map(|line| (x, y + line as f32 * tag_height)));
    let mut best = ([x, y, tag_width, tag_height], f32::INFINITY);
    for (order, (x, y)) in candidates.into_iter().enumerate() {
        let wanted = [x, y, tag_width, tag_height];
        let inside = moved_into(wanted, frame);
        let moved = (inside[0] - x).abs() * 0.05 + (inside[1] - y).abs();
        let covered: f32 = placed.iter().map(|other| common(inside, *other)).sum();
        let cost = covered * 10.0 + moved * 20.0 + order as f32;
        if cost < best.1 {
            best = (inside, cost);
        }
    }
    best.0
}

fn clipped([x, y, width, height]: Rectangle, frame: Rectangle) -> Rectangle {
    let left = x.clamp(frame[0], frame[0] + frame[2]);
    let top = y.clamp(frame[1], frame[1] + frame[3]);
    let right = (x + width).clamp(frame[0], frame[0] + frame[2]);
    let bottom = (y + height).clamp(frame[1], frame[1] + frame[3]);
    [left, top, right - left, bottom - top]
}

fn moved_into([x, y, width, height]: Rectangle, frame: Rectangle) -> Rectangle {
    let x = x.min(frame[0] + frame[2] - width).max(frame[0]);
    let y = y.min(frame[1] + frame[3] - height).max(frame[1]);
    [x, y, width, height]
}

fn grown([x, y, width, height]: Rectangle, by: f32) -> Rectangle {
    [x - by, y - by, width + 2.0 * by, height + 2.0 * by]
}

/// The area that two rectangles share.
fn common(a: Rectangle, b: Rectangle) -> f32 {
    let width = (a[0] + a[2]).min(b[0] + b[2]) - a[0].max(b[0]);
    let height = (a[1] + a[3]).min(b[1] + b[3]) - a[1].max(b[1]);
    width.max(0.0) * height.max(0.0)
}

fn colour(class: i64) -> Colour {
    PALETTE[class.unsigned_abs() as usize % PALETTE.len()]
}

/// Black or white, whichever stands out (relative luminance of sRGB, WCAG 2).
fn legible_on(background: Colour) -> Colour {
    let [red, green, blue] = background.map(|value| (f32::from(value) / 255.0).powf(2.2));
    let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    if luminance > 0.2 { BLACK } else { WHITE }
}

#[cfg(test)]
mod tests {
    use super::super::Label;
    use super::*;

    fn panel(boxes: &[[f64; 4]]) -> Panel {
        Panel {
            title: "joint".to_owned(),
            labels: boxes
                .iter()
                .map(|&bbox| Label {
                    bbox,
                    class: 1,
                    text: "square 0.97".to_owned(),
                })
                .collect(),
        }
    }

    fn tags(layout: &Layout) -> Vec<Rectangle> {
        let fills = layout.shapes.iter().filter_map(|shape| match shape {
            Shape::Fill(rectangle, _) => Some(*rectangle),
            _ => None,
        });
        fills.collect()
    }

    #[test]
    fn small_images_are_scaled_up_with_their_boxes() {
        let letters = Letters::new().unwrap();
        let layout = lay_out((128, 64), &[panel(&[[10.0, 20.0, 30.0, 40.0]])], &letters);
        assert_eq!(layout.width, 384 + 24);
        let Shape::Image(image) = layout.shapes[1] else {
            panic!("{:?}", layout.shapes[1])
        };
        assert_eq!((image[2], image[3]), (384.0, 192.0));
        let frame = layout.shapes.iter().find_map(|shape| match shape {
            Shape::Frame { rectangle, .. } => Some(*rectangle),
            _ => None,
        });
        // 384 / 128 = 3 picture pixels per image pixel
        assert_eq!(frame, Some([image[0] + 30.0, image[1] + 60.0, 90.0, 120.0]));
    }

    #[test]
    fn tags_keep_clear_of_each_other_and_in_their_panel() {
        let letters = Letters::new().unwrap();
        let same = [[0.0, 0.0, 100.0, 100.0]; 5];
        let edges = [
            [90.0, -5.0, 60.0, 20.0],
            [100.0, 120.0, 28.0, 8.0],
            [2.0, 60.0, 9.0, 9.0],
        ];
        for boxes in [&same[..], &edges[..]] {
            let layout = lay_out((128, 128), &[panel(boxes)], &letters);
            let Shape::Image(image) = layout.shapes[1] else {
                panic!("{:?}", layout.shapes[1])
            };
            let tags = tags(&layout);
            assert_eq!(tags.len(), boxes.len());
            for (i, tag) in tags.iter().enumerate() {
                assert_eq!(moved_into(*tag, image), *tag, "in the panel");
                for other in &tags[..i] {
                    assert_eq!(common(*tag, *other), 0.0, "{tag:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn letters_stand_out_from_every_colour() {
        for background in PALETTE {
            let luminance = |c: Colour| {
                let [r, g, b] = c.map(|v| (f32::from(v) / 255.0).powf(2.2));
                0.2126 * r + 0.7152 * g + 0.0722 * b
            };
            let (a, b) = (luminance(background), luminance(legible_on(background)));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast > 4.0, "{background:?}: {contrast}");
        }
    }
}
