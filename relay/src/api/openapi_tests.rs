use std::collections::BTreeSet;

use serde_json::Value;

use super::super::ROUTES;
use super::*;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("the document is JSON")
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let of = |method: &String| format!("{} {path}", method.to_uppercase());
        item.as_object().unwrap().keys().map(of).collect::<Vec<_>>()
    };
    let described: BTreeSet<String> = paths.iter().flat_map(methods).collect();
    let routed: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere() {
    fn visit(value: &Value, document: &Value, seen: &mut usize) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    *seen += 1;
                }
                map.values().for_each(|value| visit(value, document, seen));
            }
            Value::Array(list) => list.iter().for_each(|value| visit(value, document, seen)),
            _ => {}
        }
    }
    let (document, mut seen) = (document(), 0);
    visit(&document, &document, &mut seen);
    assert!(seen > 100, "{seen} references");
}

#[test]
fn every_parameter_of_a_path_is_described() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let resolved = parameters.iter().map(|parameter| match parameter["$ref"].as_str() {
                Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
                None => parameter,
            });
            let of_path = resolved.filter(|parameter| parameter["in"] == "path");
            let described: BTreeSet<&str> = of_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(described, wanted, "{method} {path}");
        }
    }
}
