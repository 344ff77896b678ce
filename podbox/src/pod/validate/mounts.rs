//! How volumes are mounted: `subPathExpr`, `mountPropagation`, `recursiveReadOnly`.

use k8s_openapi::api::core::v1 as k8s;

use super::{Errors, Path, one_of};

/// Checks all of a container's mounts.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, container: &k8s::Container) {
    let context = container.security_context.as_ref();
    let privileged = context.is_some_and(|context| context.privileged == Some(true));
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(index);
        check_expression(errors, &path.field("subPathExpr"), mount);
        let propagation = mount.mount_propagation.as_deref();
        let supported = ["Bidirectional", "HostToContainer", "None"];
        one_of(errors, &path.field("mountPropagation"), propagation, &supported);
        if propagation == Some("Bidirectional") && !privileged {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(&path.field("mountPropagation"), detail);
        }
        check_recursive(errors, &path.field("recursiveReadOnly"), mount);
    }
}

fn check_expression(errors: &mut Errors, path: &Path<'_>, mount: &k8s::VolumeMount) {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else { return };
    if mount.sub_path.as_deref().is_some_and(|path| !path.is_empty()) {
        errors.invalid(path, expression, "subPathExpr and subPath are mutually exclusive");
    }
    check_descending(errors, path, expression);
}

fn check_recursive(errors: &mut Errors, path: &Path<'_>, mount: &k8s::VolumeMount) {
    let mode = mount.recursive_read_only.as_deref();
    one_of(errors, path, mode, &["Disabled", "Enabled", "IfPossible"]);
    if !matches!(mode, Some("Enabled" | "IfPossible")) {
        return;
    }
    if mount.read_only != Some(true) {
        errors.forbidden(path, "may only be specified when readOnly is true");
    }
    if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") {
        errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
    }
}

/// Checks a path that has to be relative and must not lead upwards.
fn check_descending(errors: &mut Errors, path: &Path<'_>, text: &str) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// Checks the path of a file in a volume, which must not be one of the kubelet's own either.
pub(super) fn check_inside(errors: &mut Errors, path: &Path<'_>, text: &str) {
    check_descending(errors, path, text);
    if text.starts_with("..") && !text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not start with '..'");
    }
}
