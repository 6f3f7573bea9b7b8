//! A backoff factor in files: a number, or `"nan"`, `"inf"`, `"-inf"` in words, since JSON has no such numbers.

use std::fmt;

use serde::{Deserializer, Serializer, de};

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn serialize<S: Serializer>(factor: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if factor.is_finite() {
        serializer.serialize_f64(*factor)
    } else {
        serializer.collect_str(&words(*factor))
    }
}

fn words(factor: f64) -> &'static str {
    match factor {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "nan",
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or one of \"nan\", \"inf\", \"-inf\"")
        }

        fn visit_f64<E>(self, factor: f64) -> Result<f64, E> {
            Ok(factor)
        }

        fn visit_i64<E>(self, factor: i64) -> Result<f64, E> {
            Ok(factor as f64)
        }

        fn visit_u64<E>(self, factor: u64) -> Result<f64, E> {
            Ok(factor as f64)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
            match text {
                "nan" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
    }

    deserializer.deserialize_any(Visitor)
}
