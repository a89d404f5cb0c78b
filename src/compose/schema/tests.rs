//! The table against the JSON schema of the specification it follows.

use super::*;

fn types(json: &serde_json::Value) -> u8 {
    let one = |name: &str| match name {
        "string" => STR,
        "integer" => INT,
        "number" => NUM,
        "boolean" => BOOL,
        "null" => NULL,
        "object" => OBJ,
        "array" => ARR,
        other => panic!("unknown type {other}"),
    };
    match json {
        serde_json::Value::Null => 0,
        serde_json::Value::String(name) => one(name),
        serde_json::Value::Array(names) => {
            names.iter().fold(0, |t, n| t | one(n.as_str().unwrap()))
        }
        other => panic!("unknown type {other}"),
    }
}

fn compare(schema: &Schema, json: &serde_json::Value, root: &serde_json::Value, at: &str) {
    if let Some(reference) = json["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return compare(schema, &root["$defs"][name], root, at);
    }
    if let Some(options) = json["oneOf"].as_array() {
        assert_eq!(schema.one_of.len(), options.len(), "{at}");
        for (n, option) in options.iter().enumerate() {
            compare(schema.one_of[n], option, root, &format!("{at}|{n}"));
        }
        return;
    }
    assert_eq!(schema.types, types(&json["type"]), "types of {at}");
    assert_eq!(schema.closed, json["additionalProperties"] == false, "{at}");
    assert_eq!(schema.unique, json["uniqueItems"] == true, "{at}");
    assert_eq!(schema.minimum, json["minimum"].as_i64(), "{at}");
    assert_eq!(schema.maximum, json["maximum"].as_i64(), "{at}");
    assert_eq!(
        schema.pattern.is_some(),
        json["pattern"].is_string(),
        "{at}"
    );
    let list = |key: &str| -> Vec<String> {
        json[key].as_array().map_or(vec![], |l| {
            l.iter().map(|v| v.as_str().unwrap().to_owned()).collect()
        })
    };
    assert_eq!(schema.required, list("required"), "{at}");
    assert_eq!(schema.words, list("enum"), "{at}");
    let properties = json["properties"].as_object();
    assert_eq!(
        schema.properties.len(),
        properties.map_or(0, serde_json::Map::len),
        "{at}"
    );
    for (name, property) in properties.into_iter().flatten() {
        let ours = schema.property(name).expect("in the table");
        compare(ours, property, root, &format!("{at}.{name}"));
    }
    for (pattern, property) in json["patternProperties"].as_object().into_iter().flatten() {
        if pattern == "^x-" {
            assert!(schema.extensible, "{at}");
        } else {
            let (_, ours) = schema.pattern_properties.expect("in the table");
            compare(ours, property, root, &format!("{at}.*"));
        }
    }
    if json["items"].is_object() {
        let items = schema.items.expect("in the table");
        compare(items, &json["items"], root, &format!("{at}[]"));
    }
}

#[test]
fn the_table_is_the_specification() {
    let text = include_str!("../../../fixtures/compose/compose-spec.json");
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    compare(&table::ROOT, &json, &json, "");
}
