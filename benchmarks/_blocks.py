"""Parts of networks as ONNX text, for benchmarks and tests."""

HEADS = """
    qr = Reshape(q, heads)
    kr = Reshape(k, heads)
    vr = Reshape(v, heads)
    qt = Transpose<perm = [0, 2, 1, 3]>(qr)
    kt = Transpose<perm = [0, 2, 3, 1]>(kr)
    vt = Transpose<perm = [0, 2, 1, 3]>(vr)
    s = MatMul(qt, kt)
    scaled = Mul(s, factor)
    p = Softmax<axis = -1>(scaled)
    o = MatMul(p, vt)
    ot = Transpose<perm = [0, 2, 1, 3]>(o)
    flat = Reshape(ot, back)
    y = MatMul(flat, wo)
"""
"""Attention of several heads, from q, k and v to y: `heads` and `back` are shapes, `factor` a scalar, `wo` a matrix."""
