package main

import (
	"cmp"

	"github.com/raytap/raytap/fleet"
)

// published looks into the files of publishing. No server is asked.
func (x *examiner) published() {
	p := &x.cfg.Publish
	if p.Creds != "" {
		x.credentials(credentialsOf(p.Creds, cmp.Or(x.cfg.Peer(), sensorName())))
	}
	if p.KafkaPassword != "" {
		if b := x.file("publish.kafka_password_file", p.KafkaPassword); b != nil {
			if len(b) == 0 {
				x.bad("publish.kafka_password_file", -1, "%s is empty", p.KafkaPassword)
			}
			x.secret("publish.kafka_password_file", p.KafkaPassword)
		}
	}
	if p.KafkaCA != "" {
		x.authorities("publish.kafka_ca", p.KafkaCA)
	}
	if p.KafkaCert != "" && p.KafkaKey != "" {
		x.pairOf("publish.kafka_cert", p.KafkaCert, "publish.kafka_key", p.KafkaKey)
	}
}

// credentials looks into those of a hub.
func (x *examiner) credentials(name string) {
	const key = "publish.creds"
	b := x.file(key, name)
	if b == nil {
		return
	}
	x.secret(key, name)
	c, err := fleet.ParseCredentials(b)
	if err != nil {
		x.bad(key, -1, "%s: %v", name, err)
		return
	}
	if len(c.URLs) == 0 && len(x.cfg.Publish.NATS) == 0 {
		x.bad(key, -1, "%s names no server, and publish.nats none either", name)
	}
	if sensor := cmp.Or(x.cfg.Peer(), sensorName()); c.Sensor != "" && c.Sensor != sensor {
		x.bad(key, -1, "%s is of sensor %s, and this one is %s: set sensor.name, or enroll it", name, c.Sensor, sensor)
	}
	if len(c.CA) > 0 {
		x.lifetimes(key, name, c.CA)
	}
}
