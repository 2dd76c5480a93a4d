// Command mutants plants known defects in a copy of the module, one after the other, and runs the tests that
// are to find them: a test that has never failed proves little.
//
//	*.patch ──git apply──▶ copy of the module ──go test──▶ caught, or MISSED
//
// A patch begins with what is wrong ("What: …") and one line or more of arguments of go test ("Aim: …"); it
// is caught if any of those runs fails. All of them must pass on the copy without a defect first.
//
// Invariants: the module itself is never changed; a patch that does not apply or compile is a failure, not a
// catch. TestPatchesApply keeps the patches in step with the code.
//
// Ownership: the copy is a temporary folder that goes at the end. Failure behaviour: the exit code is 1 if a
// defect was missed.
package main
