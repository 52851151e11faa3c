"""Writes pycocotools' numbers for a set of 600 images that crates/coco makes by the same hash.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy pycocotools
    /tmp/venv/bin/python tools/average-precision/dump_large_set.py > crates/coco/src/average_precision/large_set.json

Made with numpy 2.4.6 and pycocotools 2.0.11. The set itself would be megabytes of JSON, so both sides
draw it from splitmix64: 600 images whose ids do not ascend, 24 categories of which two have no object
and one only crowds, objects from 4 to 300 pixels with a tenth of them crowds, scores of 40 levels, and
every fifty-first image flooded with 160 detections of one category. Coordinates are eighths of pixels,
which floats hold exactly.
"""
import contextlib
import io
import json
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IMAGES, CATEGORIES, MASK = 600, 24, (1 << 64) - 1


class Draws:
    """The numbers of one image."""

    def __init__(self, image):
        self.state = image

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n


def box(draws):
    """A box in eighths of pixels: the side's order of magnitude is drawn first."""
    sides = [(32 << draws.below(6)) + draws.below(700) for _ in range(2)]
    return [draws.below(4800) for _ in range(2)] + sides


def jittered(draws, b):
    """The box moved and stretched by up to a share of its sides."""
    share = (2, 8, 20, 60)[draws.below(4)]
    moved = []
    for i, v in enumerate(b):
        reach = b[2 + i % 2] * share // 100
        moved.append(v + draws.below(2 * reach + 1) - reach)
    return moved[:2] + [max(8, v) for v in moved[2:]]


def image(number):
    """(image id, objects (category, box, area in eighths squared, crowd), detections (category, box, score))."""
    draws = Draws(number)
    image_id = (number * 7919) % 100_003 + 1
    truth, found = [], []
    for _ in range(draws.below(13)):
        # a product, so that low categories are common; the last three never occur here
        category = 1 + draws.below(CATEGORIES - 2) * draws.below(CATEGORIES - 2) // (CATEGORIES - 2)
        b = box(draws)
        area = b[2] * b[3] * (50 + draws.below(51)) // 100
        truth.append((category, b, area, draws.below(10) == 0))
    if number % 40 == 0:
        truth.append((CATEGORIES - 1, box(draws), 640_000, True))
    for _ in range(draws.below(31)):
        if truth and draws.below(4) > 0:
            category, b, _, _ = truth[draws.below(len(truth))]
            if draws.below(12) == 0:
                category = 1 + draws.below(CATEGORIES)
            b = jittered(draws, b)
        else:
            category, b = 1 + draws.below(CATEGORIES), box(draws)
        found.append((category, b, draws.below(40)))
    if number % 51 == 0 and truth:
        category, b, _, _ = truth[0]
        found += [(category, jittered(draws, b), draws.below(40)) for _ in range(160)]
    return image_id, truth, found


def pixels(b):
    return [v / 8 for v in b]


def number(value):
    return None if value < 0 else float(value)


def mean(values):
    values = values[values > -1]
    return float(values.mean()) if values.size else None


images, annotations, results = [], [], []
for n in range(IMAGES):
    image_id, truth, found = image(n)
    images.append({"id": image_id, "width": 640, "height": 640})
    for category, b, area, crowd in truth:
        annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": category,
                            "bbox": pixels(b), "area": area / 64, "iscrowd": int(crowd)})
    results += [{"image_id": image_id, "category_id": c, "bbox": pixels(b), "score": s / 64} for c, b, s in found]

with contextlib.redirect_stdout(io.StringIO()):
    ground_truth = COCO()
    ground_truth.dataset = {"info": {}, "images": images, "annotations": annotations,
                            "categories": [{"id": c, "name": str(c)} for c in range(1, CATEGORIES + 1)]}
    ground_truth.createIndex()
    evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]  # [T,R,K,A,M], [T,K,A,M]
categories = []
for k, category in enumerate(evaluation.params.catIds):
    objects = sum(int(a["category_id"] == category and not a["iscrowd"]) for a in annotations)
    categories.append({
        "label": int(category), "objects": objects,
        "AP": mean(precision[:, :, k, 0, 2]), "AP50": mean(precision[0, :, k, 0, 2]),
        "AP75": mean(precision[5, :, k, 0, 2]), "APs": mean(precision[:, :, k, 1, 2]),
        "APm": mean(precision[:, :, k, 2, 2]), "APl": mean(precision[:, :, k, 3, 2]),
        "AR1": mean(recall[:, k, 0, 0]), "AR10": mean(recall[:, k, 0, 1]), "AR100": mean(recall[:, k, 0, 2]),
        "ARs": mean(recall[:, k, 1, 2]), "ARm": mean(recall[:, k, 2, 2]), "ARl": mean(recall[:, k, 3, 2]),
    })
per_category = {}
for d in results:
    key = d["image_id"], d["category_id"]
    per_category[key] = per_category.get(key, 0) + 1
json.dump({
    "objects": len(annotations), "crowds": sum(a["iscrowd"] for a in annotations),
    "small": sum(a["area"] < 1024 and not a["iscrowd"] for a in annotations),
    "detections": len(results), "over_a_hundred": sum(v > 100 for v in per_category.values()),
    "checksum": sum(int(8 * sum(a["bbox"])) + int(64 * a["area"]) for a in annotations)
    + sum(int(8 * sum(d["bbox"])) + int(64 * d["score"]) for d in results),
    "stats": [number(v) for v in evaluation.stats], "categories": categories,
}, sys.stdout, indent=0)
print()
