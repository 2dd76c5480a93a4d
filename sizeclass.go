package leat

import "math/bits"

// Buffers that are pooled come in powers of four, so that many small ones take little more memory than their
// bytes.
const (
	classSmallest = 8  // the exponent of the smallest
	classLargest  = 20 // larger ones are not kept
	sizeClasses   = (classLargest-classSmallest)/2 + 1
)

// sizeClass is the class whose buffers hold n bytes; from sizeClasses on they are too large to be kept.
func sizeClass(n int) int {
	return (max(bits.Len(uint(max(n, 1)-1)), classSmallest) - classSmallest + 1) / 2
}

// classBytes is the size of the buffers of a class.
func classBytes(class int) int { return 1 << (classSmallest + 2*class) }
