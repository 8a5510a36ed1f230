{{- define "ckrv.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ckrv
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "ckrv.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "ckrv.name" -}}
{{ printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .part | replace "ckrv-ckrv" "ckrv" }}
{{- end }}

{{- define "ckrv.image" -}}
{{- $image := index .root.Values.images .which -}}
{{- with .root.Values.images.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "ckrv.jobsNamespace" -}}
{{ .Values.jobs.namespace | default .Release.Namespace }}
{{- end }}

{{- define "ckrv.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "ckrv.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "ckrv.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The server's address as browsers reach it; empty: nobody said. */ -}}
{{- define "ckrv.publicUrl" -}}
{{- with .Values.server -}}
{{- if .publicUrl }}{{ trimSuffix "/" .publicUrl }}
{{- else if and .ingress.enabled .ingress.host }}{{ ternary "https" "http" (ne .ingress.tlsSecret "") }}://{{ .ingress.host }}
{{- end -}}
{{- end -}}
{{- end -}}
