//! Limits of huge pages, by the `hugetlb` controller of v2, which hybrid hosts have there too.

use oci_spec::runtime::LinuxHugepageLimit;

use super::{Cgroup, Refused, set, v2};

/// Sets the limits; sizes that the processor does not have need none.
pub(super) fn limit(
    group: &Cgroup,
    pages: &[LinuxHugepageLimit],
    notes: &mut Vec<String>,
) -> Result<(), Refused> {
    let Some(directory) = group.unified() else {
        notes.push("huge pages are not limited: there is no v2 hierarchy".to_owned());
        return Ok(());
    };
    let file = |page: &LinuxHugepageLimit| format!("hugetlb.{}.max", page.page_size());
    if !pages.iter().any(|page| directory.join(file(page)).exists()) {
        v2::enable_above(directory, group.depth, &["hugetlb"], notes);
    }
    for page in pages {
        if page.limit() > 0 || directory.join(file(page)).exists() {
            set(directory, &file(page), &page.limit().to_string(), notes)?;
        }
    }
    Ok(())
}
