package relay

import (
	"testing"
	"testing/synctest"
)

func TestAnErrandWakesWhoSleepsForItAndNobodyElse(t *testing.T) {
	t.Run("done before anybody waits", func(t *testing.T) {
		e := errand{over: make(chan struct{})}
		e.done()
		e.await()
	})
	t.Run("done while somebody sleeps", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := errand{over: make(chan struct{})}
			awake := make(chan struct{})
			go func() { e.await(); close(awake) }()
			synctest.Wait() // it has yielded as often as it does, and sleeps
			if e.state.Load() != errandSlept {
				t.Fatal("it does not sleep")
			}
			e.done()
			<-awake
		})
	})
}
