//! COCO-format detection data: annotations, images, a synthetic generator, and average precision
