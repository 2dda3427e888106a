//! Chromium, which looks at our pages.

use std::path::Path;
use std::process::Command;

/// Headless, about to open a page of `folder`, where its profile goes, too; `KINGLET_CHROMIUM` names another program. What the
/// page logs comes on standard error.
pub fn chromium(folder: &Path, page: &str) -> Command {
    let browser = std::env::var_os("KINGLET_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--hide-scrollbars", "--allow-file-access-from-files"])
        .arg("--enable-logging=stderr")
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(format!("file://{}", folder.join(page).display()));
    command
}
