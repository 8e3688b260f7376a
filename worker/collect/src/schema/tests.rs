//! What the schema takes and refuses.

use muster_proto::config;

use super::*;

const SPEC: &str = r#"
name = "shop"
event_id = "id"
received_at = "received"
[[fields]]
name = "id"
kind = "text"
required = true
max_length = "8 B"
[[fields]]
name = "event"
kind = "text"
values = ["view", "buy"]
[[fields]]
name = "price"
kind = "number"
min = 0
max = 1000
[[fields]]
name = "count"
kind = "integer"
[[fields]]
name = "at"
kind = "time"
[[fields]]
name = "known"
kind = "flag"
"#;

fn schema(sets: &[&str]) -> Schema {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Schema::new(&config::parse(SPEC, "collect.toml", &sets).unwrap())
}

fn check(schema: &Schema, json: &str) -> Result<String, (String, String)> {
    let checked = schema.check(serde_json::from_str(json).unwrap(), 7);
    checked
        .map(|checked| String::from_utf8(checked.line).unwrap())
        .map_err(|refusal| (refusal.field, refusal.reason))
}

#[test]
fn an_event_becomes_a_line_in_the_order_of_the_schema() {
    let json =
        r#"{"known":true,"count":3.0,"price":1.5,"id":"a\"\n","at":"2014-04-06T20:21:58Z","event":null}"#;
    let line = check(&schema(&[]), json).unwrap();
    let expected = "{\"id\":\"a\\\"\\n\",\"price\":1.5,\"count\":3,\"at\":\"2014-04-06T20:21:58Z\",\"known\":true,\"received\":7}\n";
    assert_eq!(line, expected);
}

#[test]
fn what_does_not_fit_is_refused_with_its_field_and_reason() {
    let schema = schema(&[]);
    for (json, field, reason) in [
        (r#"{}"#, "id", "is required and missing"),
        (r#"{"id":""}"#, "id", "is required and empty"),
        (r#"{"id":1}"#, "id", "is a number, expected text"),
        (r#"{"id":"123456789"}"#, "id", "is 9 bytes long, over 8"),
        (r#"{"id":"a","id":"b"}"#, "id", "is given twice"),
        (r#"{"id":"a","prise":1}"#, "prise", "unknown field `prise`, did you mean `price`?"),
        (r#"{"id":"a","event":"vew"}"#, "event", "unknown value `vew`, did you mean `view`?"),
        (r#"{"id":"a","price":-1}"#, "price", "-1 is below 0"),
        (r#"{"id":"a","price":1000.5}"#, "price", "1000.5 is above 1000"),
        (r#"{"id":"a","count":1.5}"#, "count", "1.5 is not a whole number of 64 bits"),
        (r#"{"id":"a","count":18446744073709551615}"#, "count", "is not a whole number of 64 bits"),
        (r#"{"id":"a","at":"yesterday"}"#, "at", "is not a time"),
        (r#"{"id":"a","known":"yes"}"#, "known", "is text, expected true or false"),
        (r#"{"id":"a","count":[1]}"#, "count", "is an array, expected a whole number"),
    ] {
        let (found_field, found) = check(&schema, json).unwrap_err();
        assert!(found_field == field && found.contains(reason), "{json}: {found_field}: {found}");
    }
    let nan =
        Fields(vec![("id".into(), Scalar::Text("a".into())), ("price".into(), Scalar::Number(f64::NAN))]);
    assert_eq!(schema.check(nan, 0).unwrap_err().reason, "NaN is no number");
}

#[test]
fn unknown_fields_are_dropped_where_the_file_says_so_and_long_events_are_refused() {
    let schema = schema(&["unknown_fields=drop", "limits.max_event=64 B"]);
    assert_eq!(
        check(&schema, r#"{"id":"a","more":[1,{"x":2}]}"#).unwrap(),
        "{\"id\":\"a\",\"received\":7}\n"
    );
    let (_, reason) =
        check(&schema, r#"{"id":"a","at":"2014-04-06T20:21:58.444444444444Z","price":1.123456}"#)
            .unwrap_err();
    assert!(reason.contains("`limits.max_event`"), "{reason}");
}

#[test]
fn an_id_is_the_same_as_a_number_and_as_text() {
    assert_eq!(hash_of(&Scalar::Integer(17)), hash_of(&Scalar::Text("17".into())));
    assert_ne!(hash_of(&Scalar::Integer(17)), hash_of(&Scalar::Text("017".into())));
}
