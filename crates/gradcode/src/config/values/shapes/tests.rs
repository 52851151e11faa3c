use std::fmt;

use gradient_code::Criterion;
use serde::{Deserialize, Serialize};

use super::super::Ridge;
use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Doc<T> {
    x: T,
}

fn read<T: for<'de> Deserialize<'de>>(value: &str) -> Result<T, String> {
    toml::from_str::<Doc<T>>(&format!("x = {value}"))
        .map(|doc| doc.x)
        .map_err(|error| error.to_string())
}

fn round_trip<T>(text: &str, value: T)
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug,
{
    assert_eq!(read::<T>(text).unwrap(), value);
    let written = toml::to_string(&Doc { x: value }).unwrap();
    assert_eq!(
        toml::from_str::<Doc<T>>(&written).unwrap().x,
        read::<T>(text).unwrap()
    );
}

#[test]
fn every_shape_is_read_and_written() {
    round_trip("0.5", OneOrMany::One(0.5));
    round_trip("[0.5, 1]", OneOrMany::Many(vec![0.5, 1.0]));
    round_trip("2", Rates::One(2.0));
    round_trip("[1, 2]", Rates::Many(vec![1.0, 2.0]));
    round_trip("{ uniform = [0.1, 2] }", Rates::Uniform([0.1, 2.0]));
    round_trip("{ linspace = [0.1, 2] }", Rates::Linspace([0.1, 2.0]));
    round_trip("1", Scaling::Fixed(1.0));
    round_trip("{ balanced = 0.005 }", Scaling::Balanced(0.005));
    round_trip("{ steps = 100 }", Every::Steps(100));
    round_trip("{ seconds = 1.5 }", Every::Seconds(1.5));
    round_trip("\"never\"", Every::Never);
    round_trip("\"auto\"", UnitSeconds::Auto);
    round_trip("0.25", UnitSeconds::Fixed(0.25));
    round_trip(
        "\"optimal\"",
        PlannedDeadline::Optimal(Criterion::WorstCase),
    );
    round_trip(
        "\"optimal-sampling\"",
        PlannedDeadline::Optimal(Criterion::Sampling),
    );
    round_trip("1.5", PlannedDeadline::Units(1.5));
    round_trip("\"planned\"", DeadlineSeconds::Planned);
    round_trip("0.5", DeadlineSeconds::Fixed(0.5));
    round_trip("0.5", Ridge::Value(0.5));
    round_trip("\"noise\"", Ridge::Noise);
}

#[test]
fn a_wrong_shape_names_the_right_ones() {
    for (error, wanted) in [
        (
            read::<Rates>("{ uniform = [0.1] }").unwrap_err(),
            "{ linspace = [a, b] }",
        ),
        (
            read::<Rates>("{ unifrom = [1, 2] }").unwrap_err(),
            "unknown key `unifrom`",
        ),
        (
            read::<Rates>("true").unwrap_err(),
            "expected a number, a list of numbers",
        ),
        (
            read::<Scaling>("\"balanced\"").unwrap_err(),
            "{ balanced = x }",
        ),
        (read::<Every>("{ steps = 1.5 }").unwrap_err(), "whole n"),
        (
            read::<Every>("{ steps = 1, seconds = 2 }").unwrap_err(),
            "both `",
        ),
        (read::<UnitSeconds>("\"fast\"").unwrap_err(), "\"auto\""),
        (
            read::<PlannedDeadline>("\"best\"").unwrap_err(),
            "\"optimal\"",
        ),
        (
            read::<DeadlineSeconds>("\"plan\"").unwrap_err(),
            "\"planned\"",
        ),
        (read::<Ridge>("\"loud\"").unwrap_err(), "\"noise\""),
        (
            read::<OneOrMany>("[0.1, \"x\"]").unwrap_err(),
            "invalid type: string",
        ),
    ] {
        assert!(error.contains(wanted), "{error}");
        assert!(error.contains("line 1"), "{error}");
    }
}
