//! The policy that the agent starts with: which requests of the host it answers.
//!
//! Language: Rego (<https://www.openpolicyagent.org/docs/policy-language>). The agent asks
//! `data.agent_policy.REQUEST` for each request; without a policy file an agent that was built to
//! want one aborts.

use super::editor::Editor;
use super::{Error, Policy};
use crate::tree::{Content, Kind};

const DIRECTORY: &str = "etc/kata-opa";
const DEFAULT: &str = "default-policy.rego";
const ALLOW_ALL: &str = "allow-all.rego";

/// The requests of Kata 4's agent, by the names that it asks for.
const REQUESTS: [&str; 37] = [
    "AddARPNeighborsRequest",
    "AddSwapRequest",
    "CloseStdinRequest",
    "CopyFileRequest",
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "DestroySandboxRequest",
    "ExecProcessRequest",
    "GetMetricsRequest",
    "GetOOMEventRequest",
    "GuestDetailsRequest",
    "ListInterfacesRequest",
    "ListRoutesRequest",
    "MemHotplugByProbeRequest",
    "OnlineCPUMemRequest",
    "PauseContainerRequest",
    "PullImageRequest",
    "ReadContainerTerminationMessage",
    "ReadStreamRequest",
    "RemoveContainerRequest",
    "RemoveStaleVirtiofsShareMountsRequest",
    "ReseedRandomDevRequest",
    "ResumeContainerRequest",
    "SetGuestDateTimeRequest",
    "SetPolicyRequest",
    "SignalProcessRequest",
    "StartContainerRequest",
    "StartTracingRequest",
    "StatsContainerRequest",
    "StopTracingRequest",
    "TtyWinResizeRequest",
    "UpdateContainerRequest",
    "UpdateEphemeralMountsRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "WaitProcessRequest",
    "WriteStreamRequest",
];

/// Writes the policy and makes it the default.
pub(super) fn install(editor: &mut Editor<'_>, policy: &Policy) -> Result<(), Error> {
    let (name, content) = match policy {
        Policy::AllowAll => (ALLOW_ALL, Content::Inline(allow_all().as_bytes().into())),
        Policy::File { name, content } => (name.as_str(), content.clone()),
    };
    editor.put(&format!("{DIRECTORY}/{name}"), 0o644, Kind::Regular(content))?;
    if name != DEFAULT {
        editor.symlink(&format!("{DIRECTORY}/{DEFAULT}"), name)?;
    }
    Ok(())
}

fn allow_all() -> String {
    let mut text = "# Every request is allowed: for guests whose host is trusted.\n\
                    package agent_policy\n\n"
        .to_owned();
    for request in REQUESTS {
        text.push_str(&format!("default {request} := true\n"));
    }
    text
}
