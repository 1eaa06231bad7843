// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package controlplane names the programs that obtain.py builds, so that go.sum holds the sums of all they need.
package controlplane

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubeadm"
)
