//! Whether a task's gradient is encoded on the device that computes it.

use gradient_code::Plan;
use gradient_codec::Compressor;
use learner::{Learner, ResidentGradient};

/// The rule for one engine, which says once why it does not do what it was asked to.
#[derive(Default)]
pub(crate) struct Residence {
    wanted: bool,
    /// Why messages are encoded on the CPU all the same, once that was said.
    obstacle: Option<String>,
}

impl Residence {
    /// Encodes on the model's device wherever that is possible.
    pub fn wanted() -> Self {
        Self {
            wanted: true,
            obstacle: None,
        }
    }

    /// The way to encode a message where the gradient is computed; `None` where it has to come to the
    /// CPU, or is better off there. `remembers`: an error memory is added to it first.
    pub fn of<'a>(
        &mut self,
        learner: &'a mut dyn Learner,
        plan: &Plan,
        compressor: &Compressor,
        remembers: bool,
    ) -> Option<&'a mut dyn ResidentGradient> {
        if !self.wanted {
            return None;
        }
        let obstacle = if remembers {
            "error feedback keeps its memories there".to_owned()
        } else if plan.block_code.is_some() {
            "messages that mix blocks are formed there".to_owned()
        } else {
            match learner.resident() {
                None => "that is where this model's gradients are".to_owned(),
                Some(resident) => match resident.encodes(compressor) {
                    // Asked for again: the compiler cannot see that the other arms drop it.
                    Ok(()) => return learner.resident(),
                    Err(reason) => reason,
                },
            }
        };
        if self.obstacle.as_ref() != Some(&obstacle) {
            eprintln!("gradcode: warning: gradients are encoded on the CPU because {obstacle}");
            self.obstacle = Some(obstacle);
        }
        None
    }
}
