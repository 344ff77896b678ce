//! Labels, and what selects objects by them.

use super::{Errors, Path, names};

pub(super) const NO_OPERATOR: &str = "not a valid selector operator";
const NEEDS_VALUES: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const NO_VALUES: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";

/// Checks labels that objects are to have.
pub(super) fn labels<'l>(
    errors: &mut Errors,
    path: &Path<'_>,
    labels: impl Iterator<Item = (&'l String, &'l String)>,
) {
    for (key, value) in labels {
        errors.invalid_all(path, key, &names::qualified(key));
        errors.invalid_all(&path.key(key), value, &names::label_value(value));
    }
}

/// Checks a key, an operator and values.
pub(super) fn expression(
    errors: &mut Errors,
    path: &Path<'_>,
    (key, operator, values): (&str, &str, &[String]),
) {
    let values_path = path.field("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(&values_path, NEEDS_VALUES),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if values.is_empty() => {}
        "Exists" | "DoesNotExist" => errors.forbidden(&values_path, NO_VALUES),
        other => errors.invalid(&path.field("operator"), other, NO_OPERATOR),
    }
    errors.invalid_all(&path.field("key"), key, &names::qualified(key));
    for (index, value) in values.iter().enumerate() {
        errors.invalid_all(&values_path.index(index), value, &names::label_value(value));
    }
}
