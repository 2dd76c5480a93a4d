// Package core is the functional core of Leat: vocabulary, codecs and all policy.
package core
