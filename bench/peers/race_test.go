//go:build race

package peers

// loadCalls are the concurrent calls of the load test. Under the race detector it is the test that is slow, not tandem, which
// is built without: the pass is there for the test's own code.
const loadCalls = 50
