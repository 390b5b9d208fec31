//! Documents in TOML (<https://toml.io/en/v1.0.0>) that people write, held to a JSON schema.
//!
//! In: a text, and a schema as `schemars` writes it for our types, with nothing in it by reference. Out:
//! the document without what the schema does not allow, and everything that was wrong with it, each with
//! its place: so all mistakes are shown at once, and what is left can be read.

use std::ops::Range;

use serde_json::Value as Schema;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::meant::{did_you_mean, nearest};

/// Something that is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slip {
    /// The bytes of the text that it is about.
    pub(crate) span: Range<usize>,
    /// What is wrong, in a sentence without a full stop.
    pub(crate) message: String,
}

/// Line and column of a byte of `text`, both from 1; columns count characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Reads a document and holds it to a schema.
pub(crate) fn read<'t>(text: &'t str, schema: &Schema) -> (Spanned<DeTable<'t>>, Vec<Slip>) {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    let slip = |error: &toml::de::Error| Slip {
        span: error.span().unwrap_or_default(),
        message: error.message().to_owned(),
    };
    let mut holder = Holder { slips: errors.iter().map(slip).collect() };
    let span = table.span();
    holder.hold_to(schema, &span, table.get_mut());
    (table, holder.slips)
}

struct Holder {
    slips: Vec<Slip>,
}

impl Holder {
    /// Removes from `table` what `schema` does not allow, and notes it, as well as what is missing.
    fn hold_to(&mut self, schema: &Schema, span: &Range<usize>, table: &mut DeTable<'_>) {
        let none = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Schema::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for name in words(schema.get("required")) {
            if !table.iter().any(|(key, _)| key.get_ref().as_ref() == name) {
                self.note(span, format!("the key {name:?} is missing"));
            }
        }
        for (key, mut value) in std::mem::take(table) {
            let name = key.get_ref().as_ref();
            match properties.get(name).or(others) {
                Some(property) if self.fits(property, &mut value) => {
                    table.insert(key, value);
                }
                Some(_) => {}
                None => {
                    let meant = nearest(name, properties.keys().map(String::as_str));
                    let meant = did_you_mean(meant);
                    self.note(&key.span(), format!("the key {name:?} is unknown{meant}"));
                }
            }
        }
    }

    /// Whether a value has the type that the schema wants; what is inside is held to it, too.
    fn fits(&mut self, schema: &Schema, value: &mut Spanned<DeValue<'_>>) -> bool {
        let expected = type_of(schema);
        let span = value.span();
        match (expected, value.get_mut()) {
            ("object", DeValue::Table(table)) => self.hold_to(schema, &span, table),
            ("array", DeValue::Array(items)) => {
                let schema = schema.get("items").unwrap_or(&Schema::Null);
                *items = (std::mem::replace(items, DeArray::new()).into_iter())
                    .filter_map(|mut item| self.fits(schema, &mut item).then_some(item))
                    .collect();
            }
            ("string", DeValue::String(text)) => return self.is_one_of(schema, text, &span),
            ("boolean", DeValue::Boolean(_)) => {}
            ("integer", DeValue::Integer(number)) if !number.as_str().starts_with('-') => {}
            (_, found) => {
                let (wanted, found) = (wanted_name(expected), type_name(found));
                self.note(&span, format!("expected {wanted}, found {found}"));
                return false;
            }
        }
        true
    }

    /// Whether a text is one of those that the schema allows, if it names any.
    fn is_one_of(&mut self, schema: &Schema, text: &str, span: &Range<usize>) -> bool {
        let mut allowed = words(schema.get("enum"));
        let ways = schema.get("oneOf").and_then(Schema::as_array).into_iter().flatten();
        allowed.extend(ways.flat_map(|way| {
            words(way.get("enum")).into_iter().chain(way.get("const").and_then(Schema::as_str))
        }));
        if allowed.is_empty() || allowed.contains(&text) {
            return true;
        }
        let meant = did_you_mean(nearest(text, allowed.iter().copied()));
        let allowed = allowed.join(", ");
        self.note(span, format!("{text:?} is not one of {allowed}{meant}"));
        false
    }

    fn note(&mut self, span: &Range<usize>, message: String) {
        self.slips.push(Slip { span: span.clone(), message });
    }
}

fn words(list: Option<&Schema>) -> Vec<&str> {
    list.and_then(Schema::as_array).into_iter().flatten().filter_map(Schema::as_str).collect()
}

/// The type that a schema wants; of one that may be left out, the type that it has if it is there.
fn type_of(schema: &Schema) -> &str {
    match schema.get("type") {
        Some(Schema::String(name)) => name,
        Some(Schema::Array(names)) => names.first().and_then(Schema::as_str).unwrap_or_default(),
        _ if schema.get("oneOf").is_some() || schema.get("enum").is_some() => "string",
        _ => "",
    }
}

/// A TOML type as a person says it.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(number) if number.as_str().starts_with('-') => "a number below zero",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A schema's type as a person says it.
fn wanted_name(schema_type: &str) -> &'static str {
    match schema_type {
        "string" => "a text in quotes",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}
