//! GPT-2 (Radford et al. 2019), layer for layer Hugging Face's `GPT2LMHeadModel`, without dropout.
//!
//! Parameter names, order, shapes and initialization are theirs: the output layer is the token
//! embedding, and the "Conv1D" weights are `[inputs, outputs]`, which multiply from the right. The
//! default sizes have 124,439,808 parameters. Every layer is per sample.

use tch::{Kind, Reduction, TchError, Tensor};

use crate::error::TorchError;
use crate::init::Init;
use crate::store::Scope;

/// Layer norm's epsilon.
const EPSILON: f64 = 1e-5;
/// Standard deviation of initial weights.
const DEVIATION: f64 = 0.02;

/// The sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpt2Config {
    /// Blocks.
    pub layers: u32,
    /// Attention heads of a block; they divide the width.
    pub heads: u32,
    /// Components of a token's vector.
    pub width: u32,
    /// Tokens that the network sees at most.
    pub context: u32,
    /// Different tokens.
    pub vocabulary: u32,
}

impl Gpt2Config {
    /// The smallest of the four that were published, 124 M parameters.
    pub const SMALL: Self = Self {
        layers: 12,
        heads: 12,
        width: 768,
        context: 1024,
        vocabulary: 50_257,
    };

    /// Number of parameters.
    ///
    /// ```
    /// assert_eq!(torch_models::models::gpt2::Gpt2Config::SMALL.parameters(), 124_439_808);
    /// ```
    pub fn parameters(&self) -> usize {
        let [layers, width, context, vocabulary] =
            [self.layers, self.width, self.context, self.vocabulary].map(|size| size as usize);
        let norm = 2 * width;
        let attention = (width + 1) * 3 * width + (width + 1) * width;
        let perceptron = (width + 1) * 4 * width + (4 * width + 1) * width;
        (vocabulary + context) * width + layers * (2 * norm + attention + perceptron) + norm
    }

    fn check(&self) -> Result<(), TorchError> {
        let refused = |key, value: u32, expected: String| {
            Err(TorchError::Setting {
                key,
                value: value.to_string(),
                expected,
            })
        };
        for (key, value) in [
            ("model.layers", self.layers),
            ("model.heads", self.heads),
            ("model.width", self.width),
            ("model.context", self.context),
            ("model.vocab", self.vocabulary),
        ] {
            if value == 0 {
                return refused(key, value, "at least 1".into());
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a multiple of the {} heads", self.heads);
            return refused("model.width", self.width, expected);
        }
        Ok(())
    }
}

/// The network. See the module documentation.
pub struct Gpt2 {
    config: Gpt2Config,
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Gpt2 {
    /// Registers the parameters under `scope`.
    ///
    /// # Errors
    /// [`TorchError::Setting`] for sizes that cannot be, or when libtorch cannot allocate.
    pub fn new(scope: &Scope<'_>, config: Gpt2Config) -> Result<Self, TorchError> {
        config.check()?;
        let scope = scope.sub("transformer");
        let width = i64::from(config.width);
        let embedding = |name: &str, count: u32| {
            let shape = [i64::from(count), width];
            scope
                .sub(name)
                .parameter("weight", &shape, Init::Normal(DEVIATION))
        };
        Ok(Self {
            config,
            tokens: embedding("wte", config.vocabulary)?,
            positions: embedding("wpe", config.context)?,
            blocks: (0..config.layers)
                .map(|layer| Block::new(&scope.sub(format_args!("h.{layer}")), config))
                .collect::<Result<_, _>>()?,
            norm: LayerNorm::new(&scope.sub("ln_f"), width)?,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> Gpt2Config {
        self.config
    }

    /// Logits `[N, T, vocabulary]` of the tokens that follow each of `tokens`, i64 `[N, T]` with T at
    /// most the context.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let (_, length) = tokens.size2()?;
        let positions = self.positions.f_narrow(0, 0, length)?;
        let mut x = Tensor::f_embedding(&self.tokens, tokens, -1, false, false)?;
        x = x.f_add(&positions)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.norm
            .forward(&x)?
            .f_linear::<Tensor>(&self.tokens, None)
    }

    /// The cross-entropy of every sequence's next tokens, in nats, summed over the sequence: `[N]`.
    /// `tokens` and `targets` are i64 `[N, T]`; `targets[n, t]` follows `tokens[n, t]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn losses(&self, tokens: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
        let (count, length) = targets.size2()?;
        self.forward(tokens)?
            .f_view([count * length, i64::from(self.config.vocabulary)])?
            .f_to_kind(Kind::Float)?
            .f_cross_entropy_loss::<Tensor>(
                &targets.f_reshape([-1])?,
                None,
                Reduction::None,
                -100,
                0.0,
            )?
            .f_view([count, length])?
            .f_sum_dim_intlist(1i64, false, Kind::Float)
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(scope: &Scope<'_>, width: i64) -> Result<Self, TorchError> {
        Ok(Self {
            weight: scope.parameter("weight", &[width], Init::Constant(1.0))?,
            bias: scope.parameter("bias", &[width], Init::Constant(0.0))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let shape = self.weight.size();
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        x.f_layer_norm(shape, weight, bias, EPSILON, true)
    }
}

/// `x W + b` with `W` `[inputs, outputs]`.
struct Conv1d {
    weight: Tensor,
    bias: Tensor,
}

impl Conv1d {
    fn new(
        scope: &Scope<'_>,
        inputs: i64,
        outputs: i64,
        deviation: f64,
    ) -> Result<Self, TorchError> {
        let init = Init::Normal(deviation);
        Ok(Self {
            weight: scope.parameter("weight", &[inputs, outputs], init)?,
            bias: scope.parameter("bias", &[outputs], Init::Constant(0.0))?,
        })
    }

    /// Maps `x`, `[N, T, inputs]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (count, length, inputs) = x.size3()?;
        let rows = x.f_view([count * length, inputs])?;
        self.bias
            .f_addmm(&rows, &self.weight)?
            .f_view([count, length, -1])
    }
}

/// Attention, then a perceptron, each behind a layer norm and beside an identity.
struct Block {
    attention_norm: LayerNorm,
    attention: Conv1d,
    attention_output: Conv1d,
    perceptron_norm: LayerNorm,
    perceptron: Conv1d,
    perceptron_output: Conv1d,
    heads: i64,
}

impl Block {
    fn new(scope: &Scope<'_>, config: Gpt2Config) -> Result<Self, TorchError> {
        let width = i64::from(config.width);
        // "a factor of 1/sqrt(N) where N is the number of residual layers", two a block.
        let residual = DEVIATION / f64::from(2 * config.layers).sqrt();
        let sub = |name: &str| scope.sub(name);
        Ok(Self {
            attention_norm: LayerNorm::new(&sub("ln_1"), width)?,
            attention: Conv1d::new(&sub("attn.c_attn"), width, 3 * width, DEVIATION)?,
            attention_output: Conv1d::new(&sub("attn.c_proj"), width, width, residual)?,
            perceptron_norm: LayerNorm::new(&sub("ln_2"), width)?,
            perceptron: Conv1d::new(&sub("mlp.c_fc"), width, 4 * width, DEVIATION)?,
            perceptron_output: Conv1d::new(&sub("mlp.c_proj"), 4 * width, width, residual)?,
            heads: i64::from(config.heads),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let x = x.f_add(&self.attend(&self.attention_norm.forward(x)?)?)?;
        let inner = self
            .perceptron
            .forward(&self.perceptron_norm.forward(&x)?)?;
        x.f_add(&self.perceptron_output.forward(&inner.f_gelu("tanh")?)?)
    }

    /// Causal self-attention.
    fn attend(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (count, length, width) = x.size3()?;
        let per_head = [count, length, self.heads, width / self.heads];
        let parts = self
            .attention
            .forward(x)?
            .f_split(width, 2)?
            .iter()
            .map(|part| part.f_view(per_head)?.f_transpose(1, 2))
            .collect::<Result<Vec<_>, _>>()?;
        let [query, key, value] = &parts[..] else {
            return Err(TchError::Shape("three parts of 3 * width".into()));
        };
        let seen = Tensor::f_scaled_dot_product_attention::<Tensor>(
            query, key, value, None, 0.0, true, None, false,
        )?;
        let seen = seen.f_transpose(1, 2)?.f_reshape([count, length, width])?;
        self.attention_output.forward(&seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flat::Flat;
    use crate::store::Store;
    use tch::Device;

    const TINY: Gpt2Config = Gpt2Config {
        layers: 2,
        heads: 2,
        width: 8,
        context: 6,
        vocabulary: 11,
    };

    fn tiny() -> (Gpt2, Flat) {
        let store = Store::new(Device::Cpu);
        let model = Gpt2::new(&store.root(), TINY).unwrap();
        let mut flat = Flat::new(store.into_parts().0, Device::Cpu).unwrap();
        let initial = flat.initial_parameters(3);
        flat.set_parameters(&initial).unwrap();
        (model, flat)
    }

    #[test]
    fn parameters_are_counted_as_they_are_registered() {
        assert_eq!(tiny().1.dimension(), TINY.parameters());
        let nano = Gpt2Config {
            layers: 2,
            heads: 2,
            width: 64,
            context: 64,
            vocabulary: 256,
        };
        assert_eq!(nano.parameters(), 120_576);
    }

    /// A token influences the logits of its own place and of later ones, in its own sequence.
    #[test]
    fn nothing_looks_ahead_and_sequences_do_not_mix() {
        let (model, _flat) = tiny();
        let tokens = Tensor::from_slice(&[1i64, 2, 3, 4, 5, 6, 7, 8]).view([2, 4]);
        let before = model.forward(&tokens).unwrap();
        let changed = tokens.copy();
        let _ = changed.get(1).get(2).fill_(0);
        let difference = (model.forward(&changed).unwrap() - before)
            .abs()
            .sum_dim_intlist(2i64, false, Kind::Float);
        let moved: Vec<bool> = Vec::<f32>::try_from(difference.view(-1))
            .unwrap()
            .iter()
            .map(|&d| d > 0.0)
            .collect();
        assert_eq!(
            moved,
            [false, false, false, false, false, false, true, true]
        );
    }

    #[test]
    fn an_untrained_network_knows_nothing() {
        let (model, _flat) = tiny();
        let tokens = Tensor::from_slice(&[1i64, 2, 3, 4, 5, 6]).view([1, 6]);
        let others = tokens.flip([1]);
        let loss = model.losses(&tokens, &others).unwrap().double_value(&[0]);
        assert!((loss / 6.0 - 11f64.ln()).abs() < 0.05, "{loss}");
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let refused = |config| {
            let store = Store::new(Device::Cpu);
            Gpt2::new(&store.root(), config).err().unwrap().to_string()
        };
        let message = refused(Gpt2Config { heads: 3, ..TINY });
        assert!(message.contains("a multiple of the 3 heads"), "{message}");
        let message = refused(Gpt2Config { layers: 0, ..TINY });
        assert!(message.contains("model.layers = 0"), "{message}");
    }
}
