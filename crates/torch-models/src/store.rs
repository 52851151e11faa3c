//! The tensors of a model under construction, in the order and under the dotted names that
//! PyTorch gives them.
//!
//! Layers register themselves through a [`Scope`] (a name prefix), parameters and buffers apart;
//! [`crate::flat::Flat`] then lays the parameters out in one vector. The order of registration is
//! the order of `torch.nn.Module.parameters()`, so the flat vector equals
//! `torch.nn.utils.parameters_to_vector(model.parameters())`.

use std::cell::RefCell;
use std::fmt::Display;

use tch::{Device, Kind, Tensor};

use crate::error::TorchError;
use crate::init::Init;

/// A registered parameter.
pub struct Parameter {
    /// Dotted name, as in a PyTorch `state_dict`.
    pub name: String,
    /// How it starts.
    pub init: Init,
    /// The leaf tensor; every layer's handle shares its storage.
    pub tensor: Tensor,
}

/// A registered buffer: state that is not trained (running statistics).
pub struct Buffer {
    /// Dotted name, as in a PyTorch `state_dict`.
    pub name: String,
    /// The value every element starts with.
    pub fill: f64,
    /// The tensor; the layer's handle shares its storage.
    pub tensor: Tensor,
}

/// Collects the tensors of a model while its layers are built.
pub struct Store {
    device: Device,
    parameters: RefCell<Vec<Parameter>>,
    buffers: RefCell<Vec<Buffer>>,
}

impl Store {
    /// An empty store whose tensors will live on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            parameters: RefCell::default(),
            buffers: RefCell::default(),
        }
    }

    /// The unnamed top scope.
    pub fn root(&self) -> Scope<'_> {
        Scope {
            store: self,
            prefix: String::new(),
        }
    }

    /// Registers a parameter whose tensor exists already.
    pub fn register(&self, parameter: Parameter) {
        self.parameters.borrow_mut().push(parameter);
    }

    /// Parameters and buffers in order of registration.
    pub fn into_parts(self) -> (Vec<Parameter>, Vec<Buffer>) {
        (self.parameters.into_inner(), self.buffers.into_inner())
    }
}

/// A name prefix inside a [`Store`].
#[derive(Clone)]
pub struct Scope<'a> {
    store: &'a Store,
    prefix: String,
}

impl Scope<'_> {
    /// The scope named `name` below this one; `name` may itself contain dots.
    pub fn sub(&self, name: impl Display) -> Self {
        Self {
            store: self.store,
            prefix: self.full_name(name),
        }
    }

    fn full_name(&self, name: impl Display) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    /// Registers a trained f32 tensor. Its values are set later, all at once.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, TorchError> {
        let tensor =
            Tensor::f_zeros(shape, (Kind::Float, self.store.device))?.f_set_requires_grad(true)?;
        self.store.parameters.borrow_mut().push(Parameter {
            name: self.full_name(name),
            init,
            tensor: tensor.shallow_clone(),
        });
        Ok(tensor)
    }

    /// Registers an f32 tensor that is not trained.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn buffer(&self, name: &str, shape: &[i64], fill: f64) -> Result<Tensor, TorchError> {
        let tensor = Tensor::f_full(shape, fill, (Kind::Float, self.store.device))?;
        self.store.buffers.borrow_mut().push(Buffer {
            name: self.full_name(name),
            fill,
            tensor: tensor.shallow_clone(),
        });
        Ok(tensor)
    }
}
