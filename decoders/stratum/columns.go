package stratum

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "stratum",
		When: "When a connection between a miner and a pool ends; for mining over HTTP, with each request.",
		Row:  &Session{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the first line."}}, capture.FlowColumns(), []capture.Column{
			{Name: "dialect", Doc: "Protocol: `bitcoin` is Stratum v1, `cryptonote` the protocol of XMRig."},
			{Name: "transport", Doc: "Carrier: a TCP stream, or HTTP requests for older protocols.", Values: []string{"tcp", "http"}},
			{Name: "client", Doc: "Side that mines: originator or responder.", Values: []string{"orig", "resp"}},
			{Name: "agent", Doc: "Mining software as it identifies itself."},
			{Name: "login", Doc: "Login name as sent, usually a wallet."},
			{Name: "worker", Doc: "Name of the worker among those of one login."},
			{Name: "password", Doc: "`****` if a password was sent."},
			{Name: "coin", Doc: "Currency, by the format of the wallet address."},
			{Name: "wallet", Doc: "Wallet in the login: the account that is paid."},
			{Name: "wallet_checked", Doc: "The wallet's checksum is correct, so it is a wallet and not a word that looks like one."},
			{Name: "algo", Doc: "Algorithms that were named."},
			{Name: "pool", Doc: "Pool as addressed by the miner, host and port, in protocols that carry it."},
			{Name: "outcome", Doc: "How far the miner got: `tried` no response was seen; `refused` the pool refused it; `working` it received work; `accepted` a share was accepted.",
				Values: []string{string(Tried), string(Refused), string(Working), string(Accepted)}},
			{Name: "jobs", Unit: "jobs", Doc: "Work items (jobs) that the pool sent."},
			{Name: "submits", Unit: "shares", Doc: "Shares (results) that the miner sent."},
			{Name: "accepted", Unit: "shares", Doc: "Shares that the pool accepted; an estimate if only the pool's side was seen."},
			{Name: "rejected", Unit: "shares", Doc: "Shares that the pool rejected."},
			{Name: "difficulty", Doc: "Difficulty that the pool last set, in the protocol's units."},
			{Name: "target", Doc: "The same as a target in hexadecimal, as last sent."},
			{Name: "height", Unit: "blocks", Doc: "Last block height that was named."},
			{Name: "reason", Doc: "The pool's last error message."},
			{Name: "duration", Doc: "Time from the first to the last line."},
			{Name: "first_packet", Doc: "Number of the packet with the first line, from 1."},
			{Name: "mid", Doc: "It began before the capture."},
			{Name: "community_id", Doc: "Community ID of the connection."},
		}),
	}}
}
