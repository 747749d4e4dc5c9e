//go:build race

package srtp

// underRace: the detector makes the long single-goroutine proof ten times slower and has nothing to find in it.
const underRace = true
