//! Scenarios in their shortest form.

use serde_json::Value;

use super::Scenario;

/// The scenario as JSON, without what is a default.
pub(crate) fn short(scenario: &Scenario) -> Value {
    let mut value = serde_json::to_value(scenario).expect("a scenario is plain data");
    let whole = value.to_string();
    let mut paths = Vec::new();
    keys(&value, &mut String::new(), &mut paths);
    // What is inside comes before what it is in.
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    for path in paths {
        let mut other = value.clone();
        remove(&mut other, &path);
        if is_as(&other, &whole) {
            value = other;
        }
    }
    value
}

/// Whether it is read as the scenario that is written so. Not every number equals itself, so texts are compared.
fn is_as(value: &Value, whole: &str) -> bool {
    let Ok(scenario) = serde_json::from_value::<Scenario>(value.clone()) else { return false };
    let text = serde_json::to_value(scenario).expect("a scenario is plain data").to_string();
    text == whole
}

/// The paths of all entries of objects.
fn keys(value: &Value, path: &mut String, paths: &mut Vec<String>) {
    let length = path.len();
    let mut inside = |path: &mut String, name: &str, value: &Value, is_key: bool| {
        path.push('/');
        path.push_str(name);
        if is_key {
            paths.push(path.clone());
        }
        keys(value, path, paths);
        path.truncate(length);
    };
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                inside(path, key, value, true);
            }
        }
        Value::Array(entries) => {
            for (index, value) in entries.iter().enumerate() {
                inside(path, &index.to_string(), value, false);
            }
        }
        _ => {}
    }
}

/// Takes an entry out of an object.
fn remove(value: &mut Value, path: &str) {
    let Some((parent, key)) = path.rsplit_once('/') else { return };
    if let Some(Value::Object(entries)) = value.pointer_mut(parent) {
        entries.remove(key);
    }
}
