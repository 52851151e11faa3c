//! Finite fields by tables: what difference sets and Paley graphs are made of.

/// The field of `q = p^a` elements. Element `x` is a number below `q` whose digits in base `p` are the
/// coefficients of a polynomial of degree below `a` over the integers mod `p`; 0 is zero.
pub(super) struct Field {
    characteristic: usize,
    order: usize,
    /// `powers[i] = g^i` of a primitive element `g`, for `i` below `q - 1`.
    powers: Vec<usize>,
}

impl Field {
    /// `None` if `q` is not a prime power.
    pub fn new(order: usize) -> Option<Self> {
        let (characteristic, degree) = prime_power(order)?;
        // A monic polynomial x^a - c(x) is primitive if x has order q - 1; try all c.
        let powers = (1..order).find_map(|c| primitive_powers(c, characteristic, degree, order))?;
        Some(Self {
            characteristic,
            order,
            powers,
        })
    }

    /// `g^i`.
    pub fn power(&self, exponent: usize) -> usize {
        self.powers[exponent % (self.order - 1)]
    }

    pub fn add(&self, a: usize, b: usize) -> usize {
        let p = self.characteristic;
        let (mut a, mut b, mut place, mut sum) = (a, b, 1, 0);
        while a > 0 || b > 0 {
            sum += (a % p + b % p) % p * place;
            (a, b, place) = (a / p, b / p, place * p);
        }
        sum
    }

    /// The squares other than 0: the even powers of `g`.
    pub fn squares(&self) -> Vec<usize> {
        let mut squares: Vec<usize> = self.powers.iter().copied().step_by(2).collect();
        squares.sort_unstable();
        squares
    }
}

/// The powers of `x` modulo `x^a - c(x)`, if they are all elements other than 0.
fn primitive_powers(c: usize, p: usize, degree: usize, order: usize) -> Option<Vec<usize>> {
    let high = order / p;
    let mut powers = Vec::with_capacity(order - 1);
    let mut element = 1;
    loop {
        powers.push(element);
        // x (t x^(a-1) + rest) = t c(x) + x rest.
        let (top, mut sum) = (element / high, (element % high) * p);
        let (mut c, mut place) = (c, 1);
        for _ in 0..degree {
            let digit = sum / place % p;
            sum = sum - digit * place + (digit + top * (c % p)) % p * place;
            (c, place) = (c / p, place * p);
        }
        element = sum;
        if element <= 1 || powers.len() == order - 1 {
            return (element == 1 && powers.len() == order - 1).then_some(powers);
        }
    }
}

/// `(p, a)` with `q = p^a`.
pub(super) fn prime_power(q: usize) -> Option<(usize, usize)> {
    let p = (2..=q).find(|&p| p * p > q || q.is_multiple_of(p))?;
    let p = if p * p > q && !q.is_multiple_of(p) {
        q
    } else {
        p
    };
    let (mut rest, mut exponent) = (q, 0);
    while rest.is_multiple_of(p) {
        rest /= p;
        exponent += 1;
    }
    (rest == 1).then_some((p, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prime_powers_are_told_apart() {
        let found: Vec<_> = (0..30).filter(|&q| prime_power(q).is_some()).collect();
        assert_eq!(
            found,
            [2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 25, 27, 29]
        );
        assert_eq!(prime_power(729), Some((3, 6)));
        assert_eq!(prime_power(997), Some((997, 1)));
    }

    #[test]
    fn every_element_is_a_power_once() {
        for q in [2, 3, 4, 5, 8, 9, 16, 25, 27, 49, 64, 343] {
            let field = Field::new(q).expect("a prime power");
            let mut powers = field.powers.clone();
            powers.sort_unstable();
            assert_eq!(powers, (1..q).collect::<Vec<_>>());
        }
        assert!(Field::new(12).is_none());
    }

    /// Addition is compatible with multiplication: Frobenius is linear, and 1 + ... + 1 (p times) = 0.
    #[test]
    fn frobenius_is_linear() {
        for q in [9, 25, 8, 13] {
            let field = Field::new(q).expect("a prime power");
            let p = field.characteristic;
            let log = |x| field.powers.iter().position(|&y| y == x);
            let frobenius = |x| log(x).map_or(0, |i| field.power(i * p));
            for a in 0..q {
                for b in 0..q {
                    assert_eq!(
                        frobenius(field.add(a, b)),
                        field.add(frobenius(a), frobenius(b))
                    );
                }
                assert_eq!((0..p).fold(0, |sum, _| field.add(sum, a)), 0);
            }
        }
    }

    #[test]
    fn half_of_the_elements_are_squares() {
        let field = Field::new(13).expect("a prime");
        assert_eq!(field.squares(), [1, 3, 4, 9, 10, 12]);
        assert_eq!(Field::new(9).expect("a prime power").squares().len(), 4);
    }
}
