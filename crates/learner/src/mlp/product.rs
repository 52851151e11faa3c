//! Matrix products on one thread.
//!
//! Not `ndarray`'s own, which goes to a BLAS as soon as any crate of the build asks for one: its
//! threads would compete with the runs beside it, and results would depend on how many there are.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// `c += weight * a b`.
///
/// # Panics
/// If the shapes do not fit.
pub(super) fn add_product(
    weight: f32,
    a: &ArrayView2<'_, f32>,
    b: &ArrayView2<'_, f32>,
    c: &mut ArrayViewMut2<'_, f32>,
) {
    let ((m, k), (inner, n)) = (a.dim(), b.dim());
    assert!(
        inner == k && c.dim() == (m, n),
        "shapes {:?} and {:?} have no product of shape {:?}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    let stride = |strides: &[isize]| (strides[0], strides[1]);
    let (sa, sb, sc) = (
        stride(a.strides()),
        stride(b.strides()),
        stride(c.strides()),
    );
    // SAFETY: the pointers and strides are those of views of m x k, k x n and m x n elements, which
    // was just checked; c is borrowed mutably, so it overlaps neither a nor b, nor itself.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            weight,
            a.as_ptr(),
            sa.0,
            sa.1,
            b.as_ptr(),
            sb.0,
            sb.1,
            1.0,
            c.as_mut_ptr(),
            sc.0,
            sc.1,
        );
    }
}

/// `a b`.
pub(super) fn product(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Array2<f32> {
    let mut c = Array2::zeros((a.nrows(), b.ncols()));
    add_product(1.0, a, b, &mut c.view_mut());
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn transposed_views_and_sums() {
        let a = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let b = array![[1.0, 0.0, -1.0], [2.0, 1.0, 0.5]];
        assert_eq!(
            product(&a.view(), &b.t()),
            array![[-2.0, 5.5], [-2.0, 16.0]]
        );
        let mut c = Array2::<f32>::ones((3, 3));
        add_product(2.0, &a.t(), &b.view(), &mut c.view_mut());
        assert_eq!(
            c,
            array![[19.0, 9.0, 3.0], [25.0, 11.0, 2.0], [31.0, 13.0, 1.0]]
        );
    }
}
