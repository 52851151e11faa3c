"""Writes the cases that crates/coco compares with pycocotools.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy pycocotools
    /tmp/venv/bin/python tools/average-precision/dump_pycocotools.py > crates/coco/src/average_precision/pycocotools.json

Made with numpy 2.4.6 and pycocotools 2.0.11. Each case is random but for what its name says; the
Rust test reads the boxes and must reproduce the twelve numbers (-1 where undefined).
"""
import contextlib
import io
import json
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IMAGE = 400


def case(name, seed, images=4, labels=3, objects=6, detections=12, crowds=0.0, score_levels=1000,
         grid=1, clones=False, detected_labels=None, flood=0, sizes=(8, 200)):
    """Random objects, and detections that are jittered objects or noise."""
    r = np.random.default_rng(seed)

    def box():
        size = np.exp(r.uniform(np.log(sizes[0]), np.log(sizes[1]), 2))
        corner = r.uniform(0, IMAGE - size)
        return [int(v) * grid for v in np.maximum(1, np.concatenate([corner, size]) // grid)]

    truth, found = [], []
    for image in range(1, images + 1):
        mine = []
        for _ in range(r.integers(0, objects + 1)):
            x, y, w, h = box()
            label = int(r.integers(1, labels + 1))
            # COCO's areas are those of the segmentations, below the box's
            area = round(w * h * r.uniform(0.5, 1.0), 2)
            mine.append([image, label, x, y, w, h, area, int(r.uniform() < crowds)])
            if clones:
                mine.append(list(mine[-1]))
        truth += mine
        for _ in range(r.integers(0, detections + 1)):
            if mine and r.uniform() < 0.75:
                _, label, x, y, w, h, _, _ = mine[r.integers(len(mine))]
                jitter = r.choice([0.02, 0.08, 0.2])
                b = [round(v + jitter * s * r.normal(), 1) for v, s in zip((x, y, w, h), (w, h, w, h))]
                b[2:] = [max(1.0, v) for v in b[2:]]
            else:
                b, label = box(), int(r.integers(1, (detected_labels or labels) + 1))
            score = round(float(r.integers(1, score_levels + 1)) / score_levels, 4)
            found.append([image, label, *b, score])
    for _ in range(flood):
        target = truth[r.integers(len(truth))]
        b = [round(v + 0.1 * s * r.normal(), 1) for v, s in zip(target[2:6], (target[4], target[5]) * 2)]
        b[2:] = [max(1.0, v) for v in b[2:]]
        found.append([1, 1, *b, round(float(r.uniform()), 3)])
    return {"name": name, "ground_truth": truth, "detections": found, "stats": evaluate(truth, found, images)}


def evaluate(truth, found, images):
    ground_truth = COCO()
    ground_truth.dataset = {
        "info": {},
        "images": [{"id": i, "width": IMAGE, "height": IMAGE} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": str(c)} for c in sorted({t[1] for t in truth})],
        "annotations": [
            {"id": n, "image_id": t[0], "category_id": t[1], "bbox": t[2:6], "area": t[6], "iscrowd": t[7]}
            for n, t in enumerate(truth, 1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth.createIndex()
        if found:
            results = ground_truth.loadRes(
                [{"image_id": d[0], "category_id": d[1], "bbox": d[2:6], "score": d[6]} for d in found]
            )
        else:
            results = COCO()
            results.dataset = {**ground_truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(ground_truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(v) for v in evaluation.stats]


CASES = [
    case("plain", 1),
    case("crowds", 2, images=6, crowds=0.35, detections=18),
    case("tied scores and boxes", 3, images=6, score_levels=4, grid=20, clones=True, detections=18),
    case("more than a hundred detections", 4, images=2, labels=1, objects=10, flood=130),
    case("labels nobody has, images without objects", 5, images=8, labels=3, objects=2, detected_labels=6),
    case("no detections", 6, images=2, detections=0),
    case("small objects only", 7, sizes=(4, 25)),
    case("one image, one label", 12, images=1, labels=1, detections=8),
    case("everything at once", 9, images=8, labels=2, objects=8, detections=24, crowds=0.2, score_levels=10, clones=True),
]

json.dump({"cases": CASES}, sys.stdout, separators=(",", ":"))
print()
