package phone

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Refused is a call or request that the peer answered with a failure.
type Refused struct {
	Method string
	Code   int
	Reason string
}

func (e *Refused) Error() string { return fmt.Sprintf("%s refused: %d %s", e.Method, e.Code, e.Reason) }

// cancelWait is how long a cancelled INVITE may take to be answered; the peer's 487 comes at once or never.
const cancelWait = 5 * time.Second

// do sends a request inside a dialog and waits for its final response. A failure is a *Refused.
func (p *Phone) do(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := p.send(ctx, req)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if res.IsProvisional() {
				continue
			}
			return res, refusal(req, res)
		case <-tx.Done():
			return nil, p.failed(req, tx.Err())
		case <-p.done:
			return nil, p.failed(req, nil)
		case <-ctx.Done():
			return nil, p.failed(req, ctx.Err())
		}
	}
}

// invite sends an INVITE and waits for its final response. When ctx ends, it is cancelled, and the response is still waited
// for: it may be a 2xx that was on its way. The transaction of a failure lives on by itself, to repeat the ACK.
func (p *Phone) invite(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := p.send(ctx, req)
	if err != nil {
		return nil, err
	}
	var (
		ended  = ctx.Done()
		late   <-chan time.Time
		alive  bool // a provisional response came: CANCEL may be sent
		cancel bool // and should be
	)
	for {
		select {
		case res := <-tx.Responses():
			switch {
			case res.IsProvisional():
				if cancel && !alive {
					p.cancel(req)
				}
				alive = true
				continue
			case res.IsSuccess():
				tx.Terminate() // a repeated 2xx is stray's
			}
			return res, refusal(req, res)
		case <-ended:
			ended, cancel = nil, true
			giveUp := time.NewTimer(cancelWait)
			defer giveUp.Stop()
			late = giveUp.C
			if alive {
				p.cancel(req)
			}
		case <-late:
			tx.Terminate()
			return nil, p.failed(req, ctx.Err())
		case <-p.done:
			tx.Terminate()
			return nil, p.failed(req, nil)
		case <-tx.Done():
			return nil, p.failed(req, tx.Err())
		}
	}
}

// cancel sends the CANCEL of an INVITE. Its own answer changes nothing; the INVITE's does.
func (p *Phone) cancel(invite *sip.Request) {
	req := p.cancelOf(invite)
	go func() { // ends with the phone at the latest
		ctx, stop := context.WithTimeout(context.Background(), cancelWait)
		defer stop()
		p.do(ctx, req)
	}()
}

// send begins a client transaction.
func (p *Phone) send(ctx context.Context, req *sip.Request) (*sip.ClientTx, error) {
	select {
	case <-p.done:
		return nil, p.failed(req, nil)
	default:
	}
	p.sent(req)
	tx, err := p.txs.Request(ctx, req)
	if err != nil {
		return nil, p.failed(req, err)
	}
	return tx, nil
}

// acknowledge sends the ACK of a 2xx, which is no transaction (RFC 3261 section 13.2.2.4).
func (p *Phone) acknowledge(d *dialog, seq uint32) error {
	ack := p.request(d, sip.ACK, seq)
	p.sent(ack)
	if err := p.wire.WriteMsg(ack); err != nil {
		return p.failed(ack, err)
	}
	return nil
}

// stray takes the responses that belong to no transaction: a repeated 2xx wants its ACK again.
func (p *Phone) stray(res *sip.Response) {
	cseq, from, id := res.CSeq(), res.From(), res.CallID()
	if cseq == nil || from == nil || id == nil || cseq.MethodName != sip.INVITE || !res.IsSuccess() {
		return
	}
	tag, _ := from.Params.Get("tag")
	if c := p.find(dialogID{id.Value(), tag}); c != nil {
		p.acknowledge(c.d, cseq.SeqNo)
	}
}

func refusal(req *sip.Request, res *sip.Response) error {
	if res.IsSuccess() {
		return nil
	}
	return &Refused{string(req.Method), res.StatusCode, res.Reason}
}

// failed says which request came to nothing. Whatever sipgo calls it when the phone was closed meanwhile, it is
// net.ErrClosed.
func (p *Phone) failed(req *sip.Request, err error) error {
	select {
	case <-p.done:
		err = net.ErrClosed
	default:
	}
	return fmt.Errorf("%s to %s: %w", req.Method, req.Destination(), err)
}
