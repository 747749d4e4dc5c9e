//go:build !race

package peers

// loadCalls are the concurrent calls of the load test.
const loadCalls = 500
