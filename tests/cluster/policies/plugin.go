package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os"
	"strings"
)

// What the plugin tells the agent, before the pod's first container starts.
type Arrival struct{ Namespace, Name, UID, Address string }

// plugin is the last of a chain of CNI plugins (CNI specification 1.0.0): it changes nothing of the network, but a pod
// goes on only once its rules stand. Otherwise its first second would be free.
func plugin(command string) error {
	var config struct {
		Version string          `json:"cniVersion"`
		Socket  string          `json:"socket"`
		Result  json.RawMessage `json:"prevResult"`
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(input, &config); err != nil {
		return err
	}
	switch command {
	case "VERSION":
		_, err = fmt.Printf(`{"cniVersion": %q, "supportedVersions": ["0.4.0", "1.0.0"]}`, config.Version)
		return err
	case "ADD":
	default:
		return nil
	}
	arrival, err := arrival(config.Result, os.Getenv("CNI_ARGS"))
	if err != nil {
		return err
	}
	agent, err := rpc.Dial("unix", config.Socket)
	if err != nil {
		return fmt.Errorf("the agent for network policies does not answer: %w", err)
	}
	defer agent.Close()
	if err := agent.Call("Agent.Admit", arrival, &struct{}{}); err != nil {
		return err
	}
	_, err = os.Stdout.Write(config.Result)
	return err
}

func arrival(result []byte, arguments string) (Arrival, error) {
	var made struct {
		Addresses []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(result, &made); err != nil {
		return Arrival{}, err
	}
	if len(made.Addresses) == 0 {
		return Arrival{}, errors.New("the plugins before gave the pod no address")
	}
	values := map[string]string{}
	for _, argument := range strings.Split(arguments, ";") {
		name, value, _ := strings.Cut(argument, "=")
		values[name] = value
	}
	return Arrival{
		Namespace: values["K8S_POD_NAMESPACE"],
		Name:      values["K8S_POD_NAME"],
		UID:       values["K8S_POD_UID"],
		Address:   made.Addresses[0].Address.Addr().String(),
	}, nil
}

// refuse tells the caller of a plugin what went wrong, in the shape that CNI asks for.
func refuse(err error) {
	told, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": err.Error()})
	fmt.Println(string(told))
	os.Exit(1)
}
